"""The folder of a model, and the imports of a process that loads it."""

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Write = Callable[..., None]


@pytest.fixture
def own_imports() -> Iterator[None]:
    """Restore the imports and the search path, which in the container are a process's own."""
    modules, path = dict(sys.modules), sys.path[:]
    yield
    sys.path[:] = path
    sys.modules.clear()
    sys.modules.update(modules)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "model"


@pytest.fixture
def write(folder: Path) -> Write:
    """`write("code/a.py", "...")`."""

    def write(name: str, text: str = "") -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))

    return write
