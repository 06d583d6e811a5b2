"""The data of the demo: handwritten digits (real 8x8 scans that scikit-learn ships), and two half moons of points."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits, make_moons
from sklearn.model_selection import train_test_split

HELD_OUT = 150
SHAPES = '[{"name": "data", "shape": [1, 1, 8, 8]}]\n'
SYNSET = "".join(f"digit {digit}\n" for digit in range(10))


@dataclass(frozen=True)
class Samples:
    """Inputs and the classes that they belong to: grey images of 0 to 255, or points."""

    x: NDArray[Any]
    y: NDArray[np.int64]

    def rows(self) -> NDArray[Any]:
        """Return one flat row per sample."""
        return self.x.reshape(len(self.x), -1)


def digits() -> tuple[Samples, Samples]:
    """Return images to train on, and images that no model has seen."""
    images, classes = load_digits(return_X_y=True)
    grey = np.round(images * (255 / 16)).astype(np.float32).reshape(-1, 8, 8)
    x, held_x, y, held_y = train_test_split(grey, classes, test_size=HELD_OUT, stratify=classes, random_state=0)
    return Samples(x, y), Samples(held_x, held_y)


def moons() -> tuple[Samples, Samples]:
    """Return points to train on, and 25 more."""
    x, y = make_moons(n_samples=100, noise=0.25, random_state=3)
    x, held_x, y, held_y = train_test_split(x, y, stratify=y, random_state=42)
    return Samples(x, y), Samples(held_x, held_y)


def png(image: NDArray[Any]) -> bytes:
    """Return the image as a client would send it."""
    stream = io.BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(stream, format="PNG")
    return stream.getvalue()


def describe(folder: Path) -> None:
    """Write what belongs beside a network's weights: the shape of its input, and a name for each class."""
    (folder / "digits-shapes.json").write_text(SHAPES)
    (folder / "synset.txt").write_text(SYNSET)
