"""What lies where in a bundle, and what its manifest says."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from polyhost.bundles.errors import BundleError

MODELS = "models"
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
SETTINGS = "settings.env"
IMAGE_NAME = "image.txt"
IMAGE = "image.tar"
RUN = "run"
_FORMAT = 1


@dataclass(frozen=True)
class BundledModel:
    """One model: an archive, or a folder with its files."""

    name: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """What a bundle has. `image` is the image's name, if there is one; `image_saved`: the image itself is there."""

    polyhost: str
    models: tuple[BundledModel, ...]
    settings: dict[str, str]
    image: str | None
    image_saved: bool

    def to_json(self) -> str:
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a bundle's manifest. Raises BundleError."""
        path = folder / MANIFEST
        try:
            values = json.loads(path.read_text())
            if values.pop("format") != _FORMAT:
                raise BundleError(f"{path} has another format than {_FORMAT}; use the polyhost that made the bundle")
            models = tuple(BundledModel(**model) for model in values.pop("models"))
            return cls(models=models, **values)
        except OSError as error:
            raise BundleError(f"{folder} is no bundle: {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BundleError(f"{path} is no manifest of a bundle: {error}") from error
