"""What an archive brings to say which packages it needs: requirement files, and wheels.

Standard library only, and bounded: the fork server reads this of each model.
"""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Self

FILES = ("code/requirements.txt", "requirements.txt")  # both count where there are both
WHEELS = "code/wheels"
SUMS = "SHA256SUMS"  # in the folder of the wheels, as sha256sum(1) writes it
MAX_FILE = 1 << 16  # bytes


@dataclass(frozen=True)
class Needs:
    """The first bytes of each file: one more than MAX_FILE of a file that is too long."""

    files: tuple[tuple[str, bytes], ...]
    has_wheels: bool = False
    sums: bytes | None = None

    @classmethod
    def of(cls, directory: Path) -> Self | None:
        """Return what the archive needs, None if it has no requirement file. Raises OSError."""
        found = ((name, read_within(directory, name)) for name in FILES)
        files = tuple((name, content) for name, content in found if content is not None)
        if not files:
            return None
        has_wheels = (directory / WHEELS).is_dir()
        return cls(files, has_wheels, read_within(directory, f"{WHEELS}/{SUMS}") if has_wheels else None)

    @property
    def names(self) -> str:
        """The files' names, for messages."""
        return " and ".join(name for name, _ in self.files)

    def digest(self, context: str) -> str | None:
        """Return what tells these needs from all others, None if that takes reading the wheels.

        With SHA256SUMS the wheels need not be read: the layer was made of files that have these sums. `context`:
        whatever else a layer depends on.
        """
        if self.has_wheels and self.sums is None:
            return None
        parts = [content for _, content in self.files]
        if any(len(part) > MAX_FILE for part in (*parts, self.sums or b"")):
            return None
        return digest_of(context, *parts, b"" if self.sums is None else b"wheels" + self.sums)


def exist(directory: Path) -> bool:
    """Return whether the archive has a requirement file."""
    return any((directory / name).is_file() for name in FILES)


def read_within(directory: Path, name: str) -> bytes | None:
    """Return a file's first bytes, None if there is no such regular file, or a link leads out of the archive.

    This reads on behalf of a stranger: errors quote what stands in the file. Raises OSError.
    """
    try:
        descriptor = open_within(directory, name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if descriptor is None:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(MAX_FILE + 1)


def open_within(directory: Path, name: str) -> int | None:
    """Open a regular file below the folder; None if it is another one. Raises OSError."""
    descriptor = os.open(directory / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    real = Path(f"/proc/self/fd/{descriptor}").readlink()
    if stat.S_ISREG(os.fstat(descriptor).st_mode) and real.is_relative_to(directory.resolve()):
        return descriptor
    os.close(descriptor)
    return None


def digest_of(*parts: str | bytes) -> str:
    """Return a digest in which it matters where one part ends and the next begins."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()
