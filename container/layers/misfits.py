"""Which of the image's packages were built for other versions than an isolated layer brings."""

import contextlib
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from polyhost.container.layers.image import Image, Package


def misfits(image: Image, installed: Mapping[str, Package]) -> Iterator[str]:
    """Yield the image's packages that ask for other versions than those that are installed before them."""
    for name, package in sorted(image.packages.items()):
        wanted = [] if package.folder is None or name in installed else _requirements(package.folder)
        for requirement in wanted:
            other = installed.get(canonicalize_name(requirement.name))
            if other is not None and not requirement.specifier.contains(other.version, prereleases=True):
                yield f"{package} (wants {requirement.name}{requirement.specifier})"


def _requirements(folder: Path) -> list[Requirement]:
    """Return what a package needs here, without extras."""
    found = []
    for line in Distribution.at(folder).requires or ():
        with contextlib.suppress(InvalidRequirement):  # of an old package
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                found.append(requirement)
    return found
