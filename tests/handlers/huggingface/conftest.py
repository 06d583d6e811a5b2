"""Tiny models, one of each architecture, made once in a session."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.handlers.served import Served

Tiny = Callable[..., Path]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return a function that makes a model of an architecture, or gives the one that is there."""
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    from tests.support import huggingface

    made: dict[str, Path] = {}

    def make(architecture: str, **config: Any) -> Path:
        key = f"{architecture}{sorted(config)}"
        if key not in made:
            made[key] = huggingface.save(tmp_path_factory.mktemp(architecture), architecture, **config)
        return made[key]

    return make


@pytest.fixture
def served(tiny: Tiny) -> Callable[[str], Served]:
    return lambda architecture: Served(tiny(architecture))
