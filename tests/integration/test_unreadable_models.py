"""Models whose files the container's user may not read: the folder, the file and the remedy are named.

An archive keeps the modes of its files, and a container may run as a plain user.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.container import ENTRY_POINT, ContainerProcess, running
from tests.support.file_modes import HEEDING_MODES
from tests.support.models import place
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def container(front: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerProcess]:
    """Start a container whose processes may read only what the files' modes allow."""
    folder = tmp_path_factory.mktemp("plain-user")
    with running(folder, front, entry_point=(*HEEDING_MODES, ENTRY_POINT), POLYHOST_ZYGOTES="bare") as started:
        yield started


@contextmanager
def unreadable(path: Path) -> Iterator[str]:
    """Take all permissions away while the block runs; yield what an error says about that."""
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        yield (f"{path} cannot be read by user {os.geteuid()}; make it readable, for example by chmod -R a+rX {path}")
    finally:
        path.chmod(mode)


@pytest.mark.parametrize("file", ["inference.py", "MAR-INF", "polyhost.json"])
def test_a_file_of_the_model(container: ContainerProcess, file: str) -> None:
    if file == "polyhost.json" and not container.native:
        pytest.skip("the native front end alone reads it")
    name = place("echo", container.models_dir)
    path = container.folder(name) / file
    if file == "MAR-INF":
        path.mkdir()
    elif not path.exists():
        path.write_text("{}")
    with unreadable(path) as reason:
        response = container.load(name)
        container.wait_for_event(reason, model=name)
    if container.native:
        assert (response.status_code, response.json()["message"]) == (400, reason)
    else:
        assert response.status_code == 500  # with a body of MMS's own, whatever the reason
    assert container.load(name).status_code == 200


def test_the_folder_that_the_model_lies_in(container: ContainerProcess) -> None:
    name = place("echo", container.models_dir)
    with unreadable(container.folder(name).parent) as reason:
        response = container.load(name)
    if container.native:
        assert (response.status_code, response.json()["type"]) == (400, "BadRequestError")
        assert reason in response.json()["message"]
    else:
        assert response.status_code == 404  # Java's: as if it did not exist
    assert container.load(name).status_code == 200


def test_the_models_folder(container: ContainerProcess) -> None:
    """Behind MMS Java cannot start a process there, and gives up after a minute; the log has the reason."""
    name = place("echo", container.models_dir)
    with unreadable(container.folder(name)) as reason:
        if container.native:
            response = container.load(name)
            assert (response.status_code, response.json()["type"]) == (400, "BadRequestError")
            assert reason in response.json()["message"]
        else:
            container.load(name, synchronous="false")
        container.wait_for_event(reason, model=name)
    wait_for(lambda: name not in container.names(), "the end of the registration")
    assert container.load(name).status_code == 200
