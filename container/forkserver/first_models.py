"""The models that are there when the container starts: their frameworks' zygotes are worth starting ahead of a load."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from polyhost.container.config import Config
from polyhost.handlers import frameworks

_MOST = 50  # folders that are looked at, each for milliseconds
_SHARE = 2  # of the memory, a half is left for models


def first_models(config: Config) -> list[Path]:
    """Return the model directories that are there; none with a model store, whose first models are loaded at once."""
    if not config.multi_model:
        return [config.models_dir]
    found: list[Path] = []
    if config.store is None:
        with contextlib.suppress(OSError):  # SageMaker makes the folder with the first model
            for folder in islice(config.models_dir.iterdir(), _MOST):
                inner = folder / "model"  # as SageMaker unpacks them
                found.append(inner if inner.is_dir() else folder)
    return found


def frameworks_for(models: Iterable[Path], framework_of: Callable[[Path], str], memory: int) -> list[str]:
    """Return the frameworks of these models whose zygotes fit, those of the most models first.

    `memory`: the bytes that the container has left.
    """
    room, chosen = memory // _SHARE, []
    for name, _ in Counter(map(framework_of, models)).most_common():
        size = frameworks.named(name).zygote_bytes
        if size <= room:
            room -= size
            chosen.append(name)
    return chosen
