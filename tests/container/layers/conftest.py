"""Archives, an index of tiny wheels, and builders of layers."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polyhost.container.config import Requirements
from polyhost.container.layers.builder import Builder, LayerPlan
from polyhost.container.layers.context import context
from polyhost.container.layers.image import Image
from polyhost.container.layers.needs import Needs
from polyhost.container.layers.store import Layer, LayerStore
from tests.support.packages import Index, make_wheel, serving


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """Serve greeting 1.0 and 2.0 (which needs words) and words 1.0."""
    with serving(tmp_path / "index") as index:
        make_wheel(index.folder, "greeting", "1.0")
        make_wheel(index.folder, "greeting", "2.0", requires=["words>=1"])
        make_wheel(index.folder, "words", "1.0")
        yield index


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Path]:
    """`archive("name", "requirements")` writes a model's folder and returns it."""

    def write(name: str, text: str = "", *, at: str = "code/requirements.txt") -> Path:
        path = tmp_path / "models" / name / at
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return tmp_path / "models" / name

    return write


class Layers:
    """Builds layers in one folder and keeps what was reported."""

    def __init__(self, folder: Path, plan: LayerPlan) -> None:
        self.folder = folder
        self.store = LayerStore(folder).prepare()
        self.said: list[str] = []
        self._plan = replace(plan, report=self.said.append)

    def build(self, directory: Path, **changes: Any) -> Layer:
        needs = Needs.of(directory)
        assert needs is not None
        plan = replace(self._plan, **changes)
        layer, hold = Builder(self.store, Image.of_process(), plan).layer_for(directory, needs)
        hold.close()
        return layer

    def context(self) -> str:
        """Return what the fork server computes digests with."""
        return context(self._plan.source, Image.of_process(), self._plan.index)

    def module(self, layer: Layer, name: str) -> str:
        return (self.store.site(layer.key) / f"{name}.py").read_text()

    def made(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "layers").iterdir())

    def leftovers(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "building").iterdir())


@pytest.fixture
def layers(tmp_path: Path, index: Index) -> Iterator[Layers]:
    """Build from the index, with room for 100 MB."""
    plan = LayerPlan(Requirements.INSTALL, 100_000_000, 120.0, {"UV_DEFAULT_INDEX": index.url})
    made = Layers(tmp_path / "layers", plan)
    yield made
    assert made.leftovers() == []
