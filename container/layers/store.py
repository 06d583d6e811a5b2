"""The layers on disk: made aside and renamed, held by locks while they are in use, removed by least recent use.

layers/KEY/site       what goes on a model's search path; layer.json beside it (`Layer`)
texts/DIGEST          the key of the layer for needs with this digest (needs.py)
locks/KEY             shared by those who use the layer, alone for whoever makes or removes it
building/             what is being made, and what is being removed; locked while a process works in it

The kernel gives locks back when a process ends, however it ends. So a folder in building/ that nobody holds is one that
a killed process has left. Several containers may share the folder.
"""

import contextlib
import fcntl
import json
import os
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

_POLL_S = 0.05
_MAX_TEXTS = 20_000
MAX_LAYERS = 1_000
_SITE, _DESCRIPTION = "site", "layer.json"
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Layer:
    """What a finished layer is. `isolated`: it holds other versions of the image's packages, and needs a new Python."""

    key: str
    packages: tuple[str, ...]  # name==version
    size: int  # bytes on disk
    isolated: bool = False


class Hold:
    """A lock on one layer: while it lasts, nobody removes the layer. Two holds may exist at once."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def close(self) -> None:
        """Let the layer go; may be called twice."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class LayerStore:
    """The folder of all layers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self) -> Self:
        """Make the folders. Raises OSError."""
        for name in ("layers", "texts", "locks", "building"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        return self

    # Finding

    def site(self, key: str) -> Path:
        """Return the folder for the search path."""
        return self._path(key) / _SITE

    def find(self, key: str) -> Layer | None:
        """Return a finished layer, or None if it does not exist."""
        try:
            fields = json.loads((self._path(key) / _DESCRIPTION).read_text())
            return Layer(key, tuple(fields["packages"]), int(fields["size"]), bool(fields["isolated"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def key_for(self, digest: str) -> str | None:
        """Return the key of the layer for needs with this digest."""
        try:
            key = (self._folder / "texts" / digest).read_text()
        except OSError:
            return None
        return key if len(key) == 64 and _HEX.issuperset(key) else None

    def remember(self, digest: str, key: str) -> None:
        """Note the key for needs with this digest. Raises OSError."""
        with tempfile.NamedTemporaryFile("w", dir=self._folder / "building", delete=False) as file:
            file.write(key)
        Path(file.name).replace(self._folder / "texts" / digest)

    def hold(self, key: str) -> tuple[Layer, Hold] | None:
        """Hold a layer and note that it is used; or None if it does not exist or is being removed. Raises OSError."""
        hold = self._lock(key, fcntl.LOCK_SH, deadline=0.0)
        layer = self.find(key) if hold is not None else None
        if hold is None or layer is None:
            if hold is not None:
                hold.close()
            return None
        with contextlib.suppress(OSError):
            os.utime(self._path(key))
        return layer, hold

    # Making

    def lock_alone(self, key: str, deadline: float) -> Hold | None:
        """Lock a layer that is to be made, by the monotonic clock's deadline; None if another has it for that long."""
        return self._lock(key, fcntl.LOCK_EX, deadline)

    @contextlib.contextmanager
    def workplace(self) -> Iterator[Path]:
        """Make a folder in which to build; it is removed at the end. Raises OSError."""
        self.sweep()
        # The name does not end with what the sweep looks at before the lock is there.
        made = Path(tempfile.mkdtemp(prefix=".new-", dir=self._folder / "building"))
        folder = made.with_name(made.name.removeprefix(".new-"))
        descriptor = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            made.rename(folder)
            yield folder
        finally:
            remove_tree(made)
            remove_tree(folder)
            os.close(descriptor)

    def publish(self, site: Path, layer: Layer) -> None:
        """Make a layer of the folder, which lies in a workplace; the caller has it locked alone. Raises OSError."""
        made = site.parent / f"made-{layer.key}"
        made.mkdir()
        site.rename(made / _SITE)
        fields = {name: value for name, value in asdict(layer).items() if name != "key"}
        (made / _DESCRIPTION).write_text(json.dumps(fields))
        _make_read_only(made)
        made.rename(self._path(layer.key))

    # Removing

    def sweep(self) -> None:
        """Remove what killed processes have left in building/."""
        for path in (self._folder / "building").iterdir():
            with contextlib.suppress(OSError):
                _remove_if_left(path)

    def make_room(self, limit: int, keep: str, gone: Callable[[Layer], None] = lambda layer: None) -> int:
        """Remove layers that nobody holds, the least recently used first, until all are within `limit` bytes.

        `keep`: the key of one that stays. Returns the bytes that are left; raises OSError.
        """
        layers = sorted(self._all(), key=lambda item: item[0])
        total = sum(layer.size for _, layer in layers)
        left = len(layers)
        for _, layer in layers:
            if total <= limit and left <= MAX_LAYERS:
                break
            if layer.key != keep and self.remove(layer.key):
                gone(layer)
                total -= layer.size
                left -= 1
        self._forget_texts()
        return total

    def remove(self, key: str) -> bool:
        """Remove a layer unless it is held; return whether it is gone. Raises OSError."""
        hold = self._lock(key, fcntl.LOCK_EX, deadline=0.0)
        if hold is None:
            return False
        try:
            return self.discard(key)
        finally:
            hold.close()

    def discard(self, key: str) -> bool:
        """Remove a layer that the caller has locked alone; return whether there was one. Raises OSError."""
        # Aside first, so that it is never half a layer; a killed process leaves it to the sweep.
        aside = Path(tempfile.mkdtemp(prefix="gone-", dir=self._folder / "building"))
        try:
            self._path(key).rename(aside / "layer")
            (self._folder / "locks" / key).unlink(missing_ok=True)
        except FileNotFoundError:
            return False
        finally:
            remove_tree(aside)
        return True

    def _all(self) -> Iterator[tuple[float, Layer]]:
        for path in (self._folder / "layers").iterdir():
            layer = self.find(path.name)
            if layer is not None:
                with contextlib.suppress(OSError):
                    yield path.stat().st_mtime, layer

    def _forget_texts(self) -> None:
        texts = list((self._folder / "texts").iterdir())
        if len(texts) > _MAX_TEXTS:
            for path in sorted(texts, key=lambda path: path.stat().st_mtime)[: _MAX_TEXTS // 2]:
                path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / "layers" / key

    def _lock(self, key: str, kind: int, deadline: float) -> Hold | None:
        """Lock, again if the file was removed meanwhile: a lock on a file without a name excludes nobody."""
        path = self._folder / "locks" / key
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                if _is_same_file(descriptor, path):
                    return Hold(descriptor)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    return None
                time.sleep(_POLL_S)
            os.close(descriptor)


def remove_tree(folder: Path) -> None:
    """Remove a folder, which may be read-only, and may have levels by the thousand."""
    if folder.exists():
        with contextlib.suppress(OSError):
            subprocess.run(["chmod", "-R", "u+w", "--", folder], stderr=subprocess.DEVNULL, check=False)
            subprocess.run(["rm", "-rf", "--", folder], stderr=subprocess.DEVNULL, check=False)


def size_of(folder: Path) -> int:
    """Return the bytes that a folder's files take on the disk."""
    total, folders = 0, [folder]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:  # it has just been removed
            continue
    return total


def _make_read_only(folder: Path) -> None:
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(place, name)
            if not path.is_symlink():
                path.chmod(0o555 if path.stat().st_mode & stat.S_IXUSR else 0o444)
        if Path(place) != folder:  # a folder that cannot be written to cannot be renamed either
            Path(place).chmod(0o555)
    folder.chmod(0o755)


def _remove_if_left(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        if time.time() - path.lstat().st_mtime > _YOUNG_S:
            path.unlink(missing_ok=True)
        return
    if path.name.startswith(".new-") and time.time() - path.stat().st_mtime <= _YOUNG_S:
        return  # its maker has not locked it yet
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove_tree(path)
    finally:
        os.close(descriptor)


_YOUNG_S = 60.0


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == (os.fstat(descriptor).st_dev, os.fstat(descriptor).st_ino)
