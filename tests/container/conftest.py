"""A real zygote for the tests that need workers, and small models for them."""

import itertools
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.container.forking import ForkedWorker, Forks, zygote_in

MakeModel = Callable[[str], Path]
ForkWorker = Callable[..., ForkedWorker]

ANSWERS_NOTHING = "def handle(data, context): return [b''] * len(data or [])"


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Run one zygote for the session, some of whose steps fail. The lock is what libraries make when imported."""
    folder = tmp_path_factory.mktemp("forks")
    with zygote_in(
        folder, "json.tool", "no_such_module", "statistics:no_such_function", "multiprocessing:Lock"
    ) as zygote:
        yield Forks(zygote, folder)


@pytest.fixture
def make_model(forks: Forks, request: pytest.FixtureRequest) -> MakeModel:
    """Write a handler below the container's models folder; return the model directory."""
    numbers = itertools.count(1)

    def make(handler: str) -> Path:
        directory = forks.models_dir / f"{abs(hash(request.node.nodeid)):x}-{next(numbers)}"
        directory.mkdir(parents=True)
        (directory / "handle.py").write_text(textwrap.dedent(handler))
        return directory

    return make


@pytest.fixture
def worker(forks: Forks, make_model: MakeModel) -> Iterator[ForkWorker]:
    """Fork workers for the source of a handler; end them after the test."""
    forked: list[ForkedWorker] = []

    def fork(handler: str = ANSWERS_NOTHING, **request: object) -> ForkedWorker:
        forked.append(forks.fork(make_model(handler), **request))
        return forked[-1]

    yield fork
    for item in forked:
        item.close()
