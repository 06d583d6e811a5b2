"""Shared fixtures: one container for the tests that can share it, and models for it."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.container import ContainerProcess, running
from tests.support.models import place
from tests.support.short_dir import short_directory

pytest_plugins = ["tests.support.progress"]

# As in the container's processes. OpenMP's threads spin while they wait for one another: where all cores are busy, a
# model of many small steps takes minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# A shell starts commands in the background with SIGINT ignored, and what they start would ignore it as well.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What scripts/test --quick leaves out: tests of whole containers and emulators, and others that take seconds.
_SLOW = (
    "benchmarks/test_capacity.py",
    "benchmarks/test_load.py",
    "benchmarks/test_soak.py",
    "bundles/test_serving.py",
    "cli/test_check.py",
    "cli/test_emulator.py",
    "cli/test_packages.py",
    "cli/test_serve.py",
    "container/layers/test_builder.py",
    "deploy/",
    "docs/",
    "emulator/alarms/test_alarms.py",
    "emulator/alarms/test_endpoint_metrics.py",
    "emulator/hosting/deployment/",
    "emulator/sdks/",
    "emulator/telemetry/",
    "emulator/test_multi_model_endpoint.py",
    "emulator/test_neighbours.py",
    "emulator/test_streaming.py",
    "emulator/ui/",
    "examples/",
    "fuzz/",
    "handlers/huggingface/test_zygote.py",
    "hostile/",
    "image/",
    "integration/",
)
# The longest, which each process of pytest-xdist begins with: at the end the others would wait for them.
_LONGEST = (
    "test_the_demo_and_the_commands_of_the_readme",
    "test_example_runs_against_the_emulator",
    "test_its_invocations_run_against_a_container_with_another_endpoint_url",
    "test_the_example_handler_and_the_built_in_one_agree",
    "test_the_tutorial_works_as_written",
    "test_life_of_a_multi_model_endpoint",
    "test_no_response_is_lost_and_memory_does_not_grow",
    "test_models_that_do_not_fit_together_are_all_served",
    "test_each_model_is_resident_on_one_replica",
    "test_no_module_is_imported_under_two_names",
)

# By hand, for longer: scripts/test tests/integration/test_fuzz.py --hypothesis-profile=long --timeout=0
settings.register_profile("default", deadline=None)
settings.register_profile("long", deadline=None, max_examples=20_000)
settings.load_profile("default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests, and put the longest first in each of the parts that pytest-xdist starts with."""
    for item in items:
        place = item.path.relative_to(Path(__file__).parent).as_posix()
        if place.startswith(_SLOW):
            item.add_marker(pytest.mark.slow)
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    longest = [item for item in items if item.name.startswith(_LONGEST)]
    others = [item for item in items if item not in longest]
    part = -(-len(others) // workers)
    items[:] = [
        item
        for number in range(workers)
        for item in (*longest[number::workers], *others[number * part : (number + 1) * part])
    ]


@pytest.fixture(autouse=True)
def own_main() -> Iterator[None]:
    """Keep the names of a model that a test loads in this process out of the next test's `__main__`."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Run asynchronous tests (`pytest.mark.anyio`) with asyncio only."""
    return "asyncio", {}


@pytest.fixture(scope="session", params=["mms", "native"])
def front(request: pytest.FixtureRequest) -> str:
    """Return the front end; a test that asks for it runs with each."""
    return str(request.param)


@pytest.fixture(scope="session")
def container(front: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerProcess]:
    """Start a container for the whole session. Tests take their own model names (`new_model`)."""
    with running(tmp_path_factory.mktemp("shared-container"), front, POLYHOST_ZYGOTES="mxnet torch sklearn") as started:
        yield started


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """Make a directory whose path is short enough for a container's run folder."""
    with short_directory() as folder:
        yield folder


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Return threads for requests that run beside the test."""
    with ThreadPoolExecutor(16) as executor:
        yield executor


@pytest.fixture
def new_model(container: ContainerProcess) -> Iterator[Callable[[str], str]]:
    """Return a function that copies a fixture model into the shared container's folder and returns its name."""
    made: list[str] = []

    def make(kind: str) -> str:
        made.append(place(kind, container.models_dir))
        return made[-1]

    yield make
    for name in made:
        container.unload(name)
        shutil.rmtree(container.models_dir / name)
