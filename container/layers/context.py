"""What a layer depends on besides what an archive asks for."""

from collections.abc import Mapping

from polyhost.container.config import Requirements
from polyhost.container.layers.image import Image
from polyhost.container.layers.needs import digest_of

_FORMAT = "1"  # of what goes into a key; with another number all layers are made anew


def context(source: Requirements, image: Image, index: Mapping[str, str]) -> str:
    """Return a digest of the image's packages, its Python, and where packages come from."""
    origin = {} if source is Requirements.WHEELS else index
    # Credentials of AWS's are others every few hours.
    where = [f"{name}={value}" for name, value in sorted(origin.items()) if not name.startswith("AWS_")]
    return digest_of(_FORMAT, source, image.digest, *where)
