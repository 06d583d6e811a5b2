"""Class names beside a model, one a line, and the top-5 strings made of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from polyhost.handlers.errors import BadModelError, WrongLabelsError

_BEST = 5


def read(directory: Path, *names: str) -> list[str]:
    """Return the lines of the first of these files that exists; none without one."""
    path = next((directory / name for name in names if (directory / name).is_file()), None)
    if path is None:
        return []
    try:
        # Not splitlines(): it also splits at U+2028 and the like, which a name may hold.
        with path.open(encoding="utf-8") as file:
            return [line.rstrip("\n") for line in file]
    except UnicodeDecodeError as error:
        raise BadModelError(f"{path.name} is not utf-8: {error.reason} at byte {error.start}") from None


def best(scores: NDArray[Any], labels: Sequence[str]) -> list[str]:
    """Return the five most probable classes, as `probability=0.412345, class=n02123045 tabby, tabby cat`."""
    if scores.size != max(scores.shape, default=0):
        raise WrongLabelsError(f"labels need one score per class; this model returns {list(scores.shape)} per row")
    scores = scores.ravel()
    if len(labels) < len(scores):
        raise WrongLabelsError(f"the model scores {len(scores)} classes, but its labels name {len(labels)}")
    probabilities = _probabilities(scores)
    order = numpy.argsort(-probabilities, kind="stable")[:_BEST]
    return [f"probability={probabilities[index]:f}, class={labels[index]}" for index in order]


def _probabilities(scores: NDArray[Any]) -> NDArray[Any]:
    """Return the softmax of the scores, unless they are probabilities: some networks leave it to the caller."""
    scores = scores.astype(numpy.float64)
    if (scores >= 0).all() and abs(scores.sum() - 1) < 1e-2:
        return scores
    powers: NDArray[Any] = numpy.exp(scores - scores.max())
    powers /= powers.sum()
    return powers
