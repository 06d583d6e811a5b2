"""A container at its memory limit: a load that does not fit is 507, and fits once another model is unloaded."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from benchmarks.memory_limit import MemoryLimit, NoMemoryLimitError, memory_limit
from polyhost.client import PolyhostClient
from tests.handlers.conftest import boosted, boosted_text, onnx_net  # noqa: F401  (fixtures)
from tests.support import huggingface
from tests.support.container import ENTRY_POINT, ContainerProcess, running
from tests.support.waiting import wait_for

FIXTURES = {"huggingface": "texts", "xgboost": "boosted", "lightgbm": "boosted_text", "onnx": "onnx_net"}
BODIES = {"huggingface": json.dumps({"inputs": "the film was good"})}
MB = 1 << 20
AMPLE = 8 << 30
RESERVE, ROOM = 96 * MB, 80 * MB  # what a load leaves free by default, and what the models may take beside it
MOST = 60  # copies: each takes some megabytes
# Joins the group, and becomes the container.
JOIN = "import runpy, sys; open({group!r}, 'w').write('0'); runpy.run_path({entry!r}, run_name='__main__')"
IMPORT_S = 900  # a busy machine takes minutes for four frameworks


@dataclass
class Limited:
    """A container and its limit."""

    container: ContainerProcess
    limit: MemoryLimit

    def leave(self, size: int) -> None:
        """Set the limit so that models may take so many bytes."""
        self.limit.group.set_limit(self.limit.group.used() + RESERVE + size)

    def wait_for_zygotes(self, *names: str) -> None:
        ready = {f"zygote {name} is ready" for name in names}
        wait_for(lambda: ready <= {event["message"] for event in self.container.events()}, str(ready), IMPORT_S)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers")
    return huggingface.save(tmp_path_factory.mktemp("texts"), "ElectraForSequenceClassification")


def limited(folder: Path, front: str, **environ: str) -> Iterator[Limited]:
    try:
        with memory_limit(AMPLE) as limit:
            join = JOIN.format(group=str(limit.group.folder / "cgroup.procs"), entry=str(ENTRY_POINT))
            with running(folder, front, entry_point=("-c", join), **environ) as container:
                yield Limited(container, limit)
    except NoMemoryLimitError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def machine(front: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Limited]:
    for made in limited(tmp_path_factory.mktemp(front), front, POLYHOST_ZYGOTES=" ".join(FIXTURES)):
        made.wait_for_zygotes(*FIXTURES)
        yield made


def use_zygotes(container: ContainerProcess, request: pytest.FixtureRequest) -> None:
    """Have a model of each framework loaded: zygotes that no model uses would be stopped to make room."""
    for framework, fixture in FIXTURES.items():
        name = f"user-of-{framework}"
        if not container.workers_of(name):
            shutil.copytree(request.getfixturevalue(fixture), container.folder(name))
            status = container.load(name).status_code
            assert status == 200, container.log_text()[-2000:]


def load_until_refused(container: ContainerProcess, archive: Path, name: str) -> tuple[list[str], str]:
    """Load copies of an archive, until one is refused; return the names of those before it, and its own."""
    loaded: list[str] = []
    while len(loaded) < MOST:
        copy = f"{name}-{len(loaded)}"
        shutil.copytree(archive, container.folder(copy))
        status = container.load(copy).status_code
        if status != 200:
            assert status == 507 and loaded, f"{status} after {len(loaded)} copies\n{container.log_text()[-2000:]}"
            return loaded, copy
        loaded.append(copy)
    raise AssertionError(f"{MOST} copies fit")


def status_unless_409(container: ContainerProcess, name: str) -> int | None:
    """Load, and return the status; None while MMS has not forgotten a load that it refused."""
    status = container.load(name).status_code
    return None if status == 409 else status


def has_no_worker(container: ContainerProcess, name: str) -> bool:
    return not container.workers_of(name)


def load_in_place_of_others(container: ContainerProcess, refused: str, loaded: list[str]) -> None:
    """Do as SageMaker: unload the oldest, and retry."""
    status = 507
    while status == 507 and loaded:
        oldest = loaded.pop(0)
        container.unload(oldest)
        wait_for(partial(has_no_worker, container, oldest), f"the memory of {oldest} to be free")
        status = wait_for(lambda: status_unless_409(container, refused), "an answer other than 409")
    assert status == 200, container.log_text()[-2000:]


@pytest.mark.timeout(IMPORT_S + 300)
@pytest.mark.parametrize("framework", FIXTURES)
def test_a_load_that_does_not_fit_is_507(machine: Limited, framework: str, request: pytest.FixtureRequest) -> None:
    archive, container = request.getfixturevalue(FIXTURES[framework]), machine.container
    use_zygotes(container, request)
    machine.leave(ROOM)
    loaded, refused = load_until_refused(container, archive, framework)
    load_in_place_of_others(container, refused, loaded)
    for name in (*loaded, refused):
        answer = container.invoke(name, BODIES.get(framework, "[[0, 1]]"))
        assert answer.status_code == 200, answer.text
    assert machine.limit.group.oom_kills() == 0
    machine.limit.group.set_limit(AMPLE)
    for name in (*loaded, refused):
        container.unload(name)


@pytest.mark.timeout(IMPORT_S + 300)
def test_a_zygote_that_starts_with_its_first_model_has_to_fit_too(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("lightgbm")
    for machine in limited(tmp_path, "native"):
        container = machine.container
        shutil.copytree(request.getfixturevalue("boosted_text"), container.folder("trees"))
        machine.leave(ROOM)
        refused = container.load("trees")
        assert refused.status_code == 507
        assert "MB for its framework's imports; unload models" in refused.json()["message"]
        assert container.events(message="zygote lightgbm is ready") == []
        machine.limit.group.set_limit(AMPLE)
        with PolyhostClient(f"http://127.0.0.1:{container.port}", timeout=IMPORT_S, raise_for_status=False) as patient:
            assert patient.load("trees", str(container.folder("trees"))).status_code == 200
        assert machine.limit.group.oom_kills() == 0


@pytest.mark.timeout(IMPORT_S + 300)
def test_a_zygote_that_no_model_uses_goes_before_a_model_is_refused(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("lightgbm")
    pytest.importorskip("xgboost")
    for machine in limited(tmp_path, "native", POLYHOST_ZYGOTES="lightgbm xgboost"):
        container = machine.container
        machine.wait_for_zygotes("lightgbm", "xgboost", "bare")
        shutil.copytree(request.getfixturevalue("boosted_text"), container.folder("trees"))
        machine.leave(0)
        container.loaded("trees")
        assert container.invoke("trees", "[[0, 1]]").status_code == 200
        reason = "a model needs its memory, and none uses it"
        assert container.events(message=f"stopping zygote xgboost: {reason}")
        assert container.events(message=f"stopping zygote lightgbm: {reason}") == []
        assert machine.limit.group.oom_kills() == 0
        machine.limit.group.set_limit(AMPLE)
