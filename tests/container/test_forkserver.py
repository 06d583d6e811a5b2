"""The fork server in a container: what one model does to what it shares with it must not reach the others."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.container_process import ContainerProcess, running, wait_for
from tests.models import place


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerProcess]:
    limits = {"SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS": "2", "POLYHOST_ZYGOTES": "bare"}
    with running(tmp_path_factory.mktemp("forkserver"), "native", **limits) as started:
        yield started


def load(container: ContainerProcess, name: str, handler: str) -> str:
    folder = container.models_dir / name / "model"
    folder.mkdir(parents=True)
    (folder / "inference.py").write_text(handler)
    return container.loaded(name)


SCRIBBLES = """
import ctypes
import time


def model_fn(model_dir):
    return None


def transform_fn(model, body, content_type, accept):
    (line,) = [line for line in open("/proc/self/maps") if "/memfd:polyhost-status" in line]
    ctypes.memset(int(line.split("-")[0], 16), 255, 4096)
    print("scribbled")
    if body == "and dies":
        ctypes.string_at(0)
    time.sleep(30)
"""


def test_a_page_full_of_garbage_concerns_its_own_model_only(container: ContainerProcess) -> None:
    scribbler = load(container, "scribbler", SCRIBBLES)
    other = container.loaded(place("never_answers", container.models_dir))
    with ThreadPoolExecutor() as pool:
        going_on = pool.submit(container.invoke, scribbler, "and goes on")
        wait_for(lambda: container.events(message="scribbled"), "the garbage")

        late = container.invoke(other, "wait")
        assert (late.status_code, late.json()["type"]) == (504, "WorkerDiedError")
        assert going_on.result().status_code == 504

    assert container.invoke(load(container, "another", SCRIBBLES), "and dies").status_code == 500
    for name in container.names():
        assert container.unload(name).status_code == 200
    assert container.events(logger="polyhost.loop") == []
