"""The checksums of a bundle's files, in the form of sha256sum(1)."""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from polyhost.bundles.errors import BundleError
from polyhost.bundles.layout import SUMS

_LINE = re.compile(r"(?P<digest>[0-9a-f]{64})  (?P<name>.+)")
_SHOWN = 5


def write(folder: Path) -> None:
    """Write the sums of all files of a folder into it."""
    lines = [f"{digest_of(folder / name)}  {name}\n" for name in sorted(_files(folder))]
    (folder / SUMS).write_text("".join(lines))


def verify(folder: Path) -> None:
    """Check that the files are those that the sums name, each unchanged. Raises BundleError, which names others."""
    listed = _read(folder)
    there = set(_files(folder))
    wrong = [f"{name} is missing" for name in sorted(listed.keys() - there)]
    wrong += [f"{name} is not in {SUMS}" for name in sorted(there - listed.keys())]
    for name in sorted(there & listed.keys()):
        path = folder / name
        if path.is_symlink() or not path.is_file():
            wrong.append(f"{name} is no file")
        elif digest_of(path) != listed[name]:
            wrong.append(f"{name} has changed")
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise BundleError(
            f"the bundle {folder} is not as it was made: {'; '.join(wrong[:_SHOWN])}{more}; copy it again"
        )


def digest_of(path: Path) -> str:
    """Return a file's SHA-256. Raises BundleError."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}") from error


def _read(folder: Path) -> dict[str, str]:
    path = folder / SUMS
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{folder} is no bundle: cannot read {path}: {error}") from error
    found = {}
    for number, line in enumerate(lines, 1):
        parts = _LINE.fullmatch(line)
        if parts is None:
            raise BundleError(f"{path}, line {number}: no checksum and name of a file: {line[:100]!r}; copy it again")
        found[parts["name"]] = parts["digest"]
    if not found:
        raise BundleError(f"{path} is empty; copy the bundle again")
    return found


def _files(folder: Path) -> Iterator[str]:
    """Yield everything but folders, by its path below the folder, without the sums themselves."""
    for top, folders, names in os.walk(folder, onerror=_cannot_list):
        # os.walk counts links to folders among the folders.
        links = [name for name in folders if os.path.islink(os.path.join(top, name))]  # noqa: PTH118, PTH114
        for name in (*names, *links):
            path = (Path(top) / name).relative_to(folder).as_posix()
            if path != SUMS:
                yield path


def _cannot_list(error: OSError) -> None:
    raise BundleError(f"cannot list {error.filename}: {error.strerror}") from error
