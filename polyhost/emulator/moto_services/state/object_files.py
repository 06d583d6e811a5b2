"""The bytes of S3's objects, a file each. They leave the memory for good: moto reads them from here."""

import logging
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from polyhost.emulator.errors import StartError

_PIECE_BYTES = 1 << 20

logger = logging.getLogger(__name__)


class ObjectFile:
    """What moto uses of a file object, over a part of a file that is open only while it is read."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        self.path = path
        self.start = start
        self.size = size
        self._position = 0

    def seek(self, position: int) -> None:
        """Set where the next `read` starts."""
        self._position = position

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes. Raises OSError if the file is missing or too short."""
        left = self.size - self._position
        wanted = left if size < 0 else min(size, left)
        if wanted == 0:
            return b""
        with self.path.open("rb") as file:
            file.seek(self.start + self._position)
            content = file.read(wanted)
        if len(content) != wanted:
            raise OSError(f"{self.path} is too short")
        self._position += wanted
        return content

    def close(self) -> None:
        """Do nothing: the file is removed when no record names it any more."""


class ObjectFiles:
    """A folder of files, each written once, under a name of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StartError(f"cannot use {folder} ({error.strerror}); choose another --state") from error

    def add(self, content: IO[bytes] | ObjectFile, size: int) -> ObjectFile:
        """Copy the content to a new file. Raises OSError, such as for a full disk, and leaves no file then."""
        path = self._folder / uuid.uuid4().hex
        try:
            content.seek(0)
            with path.open("wb") as file:
                shutil.copyfileobj(content, file, _PIECE_BYTES)
                if file.tell() != size:
                    raise OSError(f"{file.tell()} of {size} bytes of an object could be read")
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return ObjectFile(path, 0, size)

    def find(self, name: str, size: int) -> ObjectFile | None:
        """Return the file of this name, or None if it is not there as a whole, as after a power failure."""
        path = self._folder / name
        try:
            return ObjectFile(path, 0, size) if path.stat().st_size == size else None
        except FileNotFoundError:
            return None

    def holds(self, buffer: Any) -> bool:
        """Tell whether an object's bytes are in this folder."""
        return isinstance(buffer, ObjectFile) and buffer.path.parent == self._folder

    def remove(self, names: Iterable[str]) -> None:
        """Remove files that no record names any more."""
        for name in names:
            (self._folder / name).unlink(missing_ok=True)

    def remove_all_but(self, names: set[str]) -> None:
        """Remove what an emulator left that was killed while it wrote or removed objects."""
        left = [path.name for path in self._folder.iterdir() if path.name not in names]
        if left:
            logger.warning(
                "removing %d files of S3 objects in %s: the emulator ended while it wrote or removed them, "
                "and no client was told that they are stored",
                len(left),
                self._folder,
            )
            self.remove(left)
