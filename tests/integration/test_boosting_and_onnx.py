"""Archives of XGBoost, LightGBM and ONNX in real containers, behind both front ends, and by `polyhost check`."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.handlers.conftest import boosted, boosted_text, onnx_net  # noqa: F401  (fixtures)
from tests.support.command import run_polyhost
from tests.support.container import ContainerProcess, running

FIXTURES = {"xgboost": "boosted", "lightgbm": "boosted_text", "onnx": "onnx_net"}


@pytest.fixture(scope="module")
def archives(request: pytest.FixtureRequest) -> dict[str, Path]:
    return {framework: request.getfixturevalue(name) for framework, name in FIXTURES.items()}


@pytest.fixture(scope="module")
def container(
    front: str, archives: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ContainerProcess]:
    with running(tmp_path_factory.mktemp(front), front, POLYHOST_ZYGOTES=" ".join(archives)) as started:
        for name, folder in archives.items():
            shutil.copytree(folder, started.folder(name))
            started.loaded(name)
        yield started


@pytest.mark.parametrize("framework", FIXTURES)
def test_served_and_checked(container: ContainerProcess, archives: dict[str, Path], framework: str) -> None:
    response = container.invoke(framework, "0,1\n18,19\n", "text/csv")
    assert response.status_code == 200, response.text
    assert len(response.json()) == 2
    wrong = container.invoke(framework, "[[1, 2, 3]]")
    assert (wrong.status_code, "wrong shape" in wrong.text) == (400, True)

    checked = run_polyhost("check", archives[framework], "--body", "-", "--json", stdin="[[0, 1], [18, 19]]")
    assert checked.returncode == 0, checked.stderr
    report = json.loads(checked.stdout)
    assert report["framework"] == report["handler"] == framework
    assert report["answer"]["body"] == response.json()


def test_zygotes_have_one_thread(container: ContainerProcess) -> None:
    assert [event for event in container.events(level="WARNING") if "has other threads" in event["message"]] == []
