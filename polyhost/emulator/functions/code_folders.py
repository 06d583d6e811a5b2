"""Functions' zips, unpacked once for all environments that run them."""

import shutil
import tempfile
import threading
from collections.abc import Collection
from pathlib import Path

from polyhost import archives
from polyhost.archives import ArchiveKind, InvalidArchiveError
from polyhost.emulator.functions.spec import CodePart

# A function's code and layers together (Lambda developer guide, gettingstarted-limits).
MAX_UNPACKED_BYTES = 262_144_000


class CodeFolders:
    """Folders below `root`, one for each digest. Its methods block; any thread may call them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._folders: dict[str, Path] = {}

    def folder_of(self, part: CodePart) -> Path:
        """Return the folder with the unpacked zip. Raises InvalidArchiveError and OSError."""
        with self._lock:
            if (folder := self._folders.get(part.digest)) is None:
                folder = self._folders[part.digest] = self._unpack(part)
            return folder

    def keep(self, digests: Collection[str]) -> None:
        """Remove the folders of all other digests."""
        with self._lock:
            for digest in self._folders.keys() - set(digests):
                shutil.rmtree(self._folders.pop(digest), ignore_errors=True)

    def _unpack(self, part: CodePart) -> Path:
        self._root.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self._root))
        folder.chmod(0o755)
        try:
            unpack_zip(part.content, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return folder


def check_zip(content: bytes) -> None:
    """Unpack a zip, and remove it again. Raises InvalidArchiveError and OSError."""
    with tempfile.TemporaryDirectory(prefix="polyhost-zip-") as folder:
        unpack_zip(content, Path(folder))


def unpack_zip(content: bytes, folder: Path) -> None:
    """Unpack a zip of a function into a folder. Raises InvalidArchiveError and OSError."""
    if not content:
        raise InvalidArchiveError("it is empty")
    with tempfile.NamedTemporaryFile(suffix=".zip") as file:
        file.write(content)
        file.flush()
        archives.unpack(Path(file.name), folder, MAX_UNPACKED_BYTES, ArchiveKind.ZIP)
