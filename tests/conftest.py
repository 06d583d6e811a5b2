"""Shared fixtures: one container for the tests that can share it, and models for it, one folder a behaviour."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.container import ContainerProcess, running
from tests.support.models import MODELS
from tests.support.short_dir import short_directory

# By hand, for longer: scripts/test tests/integration/test_fuzz.py --hypothesis-profile=long --timeout=0
settings.register_profile("default", deadline=None)
settings.register_profile("long", deadline=None, max_examples=20_000)
settings.load_profile("default")


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Run asynchronous tests (`pytest.mark.anyio`) with asyncio only."""
    return "asyncio", {}


@pytest.fixture(scope="session", params=["mms", "native"])
def front(request: pytest.FixtureRequest) -> str:
    """The front end: what is true of both is tested with both."""
    return str(request.param)


@pytest.fixture(scope="session")
def container(front: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerProcess]:
    """Shared by the whole session: tests take model names of their own (`new_model`) and unload what they load."""
    with running(tmp_path_factory.mktemp("shared-container"), front) as started:
        yield started


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """Make a directory whose path is short enough for a container's run folder."""
    with short_directory() as folder:
        yield folder


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """For calls that go on beside the test."""
    with ThreadPoolExecutor(16) as executor:
        yield executor


@pytest.fixture
def new_model(container: ContainerProcess, request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """Puts a copy of tests/models/KIND where the platform would unpack it, under an opaque name; gives the name."""
    made: list[str] = []

    def make(kind: str) -> str:
        name = f"{abs(hash(request.node.nodeid)):016x}{len(made)}"
        shutil.copytree(MODELS / kind, container.models_dir / name / "model")
        made.append(name)
        return name

    yield make
    for name in made:
        container.unload(name)
        shutil.rmtree(container.models_dir / name)
