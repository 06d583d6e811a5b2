"""The packages that the image has: a layer holds none of them, and none in another version.

A zygote has imported some before a model's code runs. Another version behind it on the search path would be half used:
`importlib.metadata` and new submodules would be the layer's, the module itself the zygote's.
"""

import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from polyhost.container.layers.errors import BadRequirementsError
from polyhost.container.layers.needs import digest_of

_DIST_INFO = ".dist-info"
_SEPARATORS = re.compile(r"[-_.]+")
_FROZEN = re.compile(r"([A-Za-z0-9][\w.-]*)==([^\s;]+)")


@dataclass(frozen=True)
class Package:
    """One installed distribution; `folder` is its .dist-info, None if it is not here."""

    name: str
    version: str
    folder: Path | None

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


@dataclass(frozen=True)
class Image:
    """The packages by their normalised names."""

    packages: Mapping[str, Package]

    @classmethod
    def of_process(cls) -> Self:
        """Return what this process could import, of each package the one that comes first."""
        packages: dict[str, Package] = {}
        for entry in filter(os.path.isdir, sys.path):
            for package in packages_in(Path(entry)):
                packages.setdefault(package.name, package)
        return cls(packages)

    @classmethod
    def of_freeze(cls, text: str, source: str) -> Self:
        """Return what another environment has, as pip freeze prints it. Raises BadRequirementsError.

        What its packages need is not known; it is there, if that environment is whole.
        """
        packages: dict[str, Package] = {}
        for line in text.splitlines():
            match = _FROZEN.match(line.strip())
            if match:
                name = _normalised(match[1])
                packages[name] = Package(name, match[2], None)
        if not packages:
            raise BadRequirementsError(f"{source} names no package; write it with python -m pip freeze in the image")
        return cls(packages)

    @cached_property
    def digest(self) -> str:
        """What a layer depends on besides what is asked for: these packages, and the kind of Python."""
        python = (sys.implementation.cache_tag or "", sysconfig.get_platform(), sysconfig.get_python_version())
        return digest_of(*python, *sorted(map(str, self.packages.values())))

    def constraints(self) -> str:
        """Return the text of a file that fixes the versions."""
        return "".join(f"{package}\n" for package in self.packages.values())

    def make_view(self, folder: Path) -> "View":
        """Make a folder in which these packages seem to be installed, and nothing can be imported."""
        folder.mkdir()
        for package in self.packages.values():
            _show(package, folder)
        return View(folder)


@dataclass(frozen=True)
class View:
    """A folder into which uv installs what the image lacks.

    No virtual environment: a wheel can bring files for `bin/`, and must not replace a Python that uv runs.
    """

    site: Path

    def installed(self) -> dict[str, Package]:
        """Return the packages in it."""
        return {package.name: package for package in packages_in(self.site)}

    def take_out(self, image: Image) -> None:
        """Remove what stands for the image's packages, so that only what has been installed is left."""
        (self.site / ".lock").unlink(missing_ok=True)  # uv's
        for name, package in self.installed().items():
            folder = package.folder
            assert folder is not None
            if name in image.packages and (folder / "RECORD").read_text() == _record(folder.name):
                shutil.rmtree(folder)


def packages_in(folder: Path) -> list[Package]:
    """Return the packages in one folder of the search path, by the names of its entries alone."""
    found = []
    try:
        entries = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return []
    for entry in sorted(entries):
        name, separator, version = entry.removesuffix(_DIST_INFO).partition("-")
        if separator and entry.endswith(_DIST_INFO):
            found.append(Package(_normalised(name), version, folder / entry))
    return found


def _normalised(name: str) -> str:
    return _SEPARATORS.sub("-", name).lower()


def _show(package: Package, site: Path) -> None:
    folder = site / f"{package.name.replace('-', '_')}-{package.version}{_DIST_INFO}"
    folder.mkdir()
    known = None if package.folder is None else package.folder / "METADATA"
    if known is not None and known.is_file():
        shutil.copyfile(known, folder / "METADATA")
    else:
        text = f"Metadata-Version: 2.1\nName: {package.name}\nVersion: {package.version}\n"
        (folder / "METADATA").write_text(text)
    (folder / "INSTALLER").write_text("pip\n")
    # Where uv replaces the package, it removes what is recorded: this copy, and nothing of the image.
    (folder / "RECORD").write_text(_record(folder.name))


def _record(folder: str) -> str:
    return "".join(f"{folder}/{name},,\n" for name in ("METADATA", "INSTALLER", "RECORD"))
