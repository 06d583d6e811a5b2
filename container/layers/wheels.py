"""The wheels that an archive brings in code/wheels/: copied before they are used, and known by what they hold.

They are copied because the archive's own code, which may run already, can change its files; and a layer is shared with
other models, so what it is made of must be what its key says.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from polyhost.container.layers.errors import BadRequirementsError
from polyhost.container.layers.needs import SUMS, WHEELS, open_within

MAX_WHEELS = 1_000
_MAX_ENTRIES = 2_000
_CHUNK = 1 << 20
_SOURCES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".zip", ".egg")
_SUM_LINE = re.compile(r"([0-9a-f]{64}) [ *](\S+)")


def copy(directory: Path, sums: bytes | None, folder: Path, limit: int) -> dict[str, str]:
    """Copy an archive's wheels into the folder; return the SHA-256 of each by its name.

    `sums`: what they must be; `limit`: bytes of all of them. Raises BadRequirementsError, and OSError.
    """
    expected = None if sums is None else _read_sums(sums)
    names = sorted(_names(directory / WHEELS)) if expected is None else sorted(expected)
    if len(names) > MAX_WHEELS:
        raise BadRequirementsError(f"{WHEELS}/ holds {len(names)} wheels; {MAX_WHEELS} at most")
    found: dict[str, str] = {}
    for name in names:
        found[name], size = _copy_one(directory, name, folder / name, limit)
        limit -= size
        if expected is not None and expected[name] != found[name]:
            raise BadRequirementsError(
                f"{WHEELS}/{name} has the SHA-256 {found[name]}, and {SUMS} says {expected[name]}; "
                "pack the archive again with polyhost pack --with-wheels"
            )
    return found


def write_sums(found: dict[str, str]) -> str:
    """Return the text of SHA256SUMS."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(found.items()))


def sum_of(path: Path) -> str:
    """Return a file's SHA-256. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _names(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            if number == _MAX_ENTRIES:
                raise BadRequirementsError(f"{WHEELS}/ holds more than {_MAX_ENTRIES} files; keep only wheels there")
            if entry.name.endswith(".whl"):
                yield _checked(entry.name)
            elif entry.name.endswith(_SOURCES):
                raise BadRequirementsError(
                    f"{WHEELS}/{entry.name} is a source distribution, whose building would run its code; "
                    "put the wheel there that pip wheel makes of it"
                )


def _read_sums(content: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in content.decode(errors="replace").splitlines():
        match = _SUM_LINE.fullmatch(line.strip())
        if not match:
            raise BadRequirementsError(
                f"{WHEELS}/{SUMS}: {line[:100]!r} is not a line of sha256sum; pack the archive again"
            )
        found[_checked(match[2])] = match[1]
    return found


def _checked(name: str) -> str:
    try:
        parse_wheel_filename(name)
    except InvalidWheelFilename as error:
        raise BadRequirementsError(f"{WHEELS}/{name[:200]}: {error}") from None
    if "/" in name or not name.isprintable():
        raise BadRequirementsError(f"{WHEELS}/: {name[:200]!r} is not the name of a wheel")
    return name


def _copy_one(directory: Path, name: str, target: Path, limit: int) -> tuple[str, int]:
    try:
        descriptor = open_within(directory, f"{WHEELS}/{name}")
    except FileNotFoundError:
        descriptor = None
    if descriptor is None:
        raise BadRequirementsError(f"{WHEELS}/{name} is no file of the archive; put the wheel itself there")
    digest, size = hashlib.sha256(), 0
    with os.fdopen(descriptor, "rb") as source, target.open("xb") as copied:
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            if size > limit:
                raise BadRequirementsError(f"the files in {WHEELS}/ are larger than POLYHOST_LAYERS_MB allows")
            digest.update(chunk)
            copied.write(chunk)
    return digest.hexdigest(), size
