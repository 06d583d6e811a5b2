"""Model archives: a gzip-compressed tar with the model's files at its root, as SageMaker unpacks them."""

import gzip
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from polyhost import archives
from polyhost.cli.errors import CommandError

_WHEELS = "code/wheels"
_LEFT_OUT = frozenset({"__pycache__", ".git", ".ipynb_checkpoints", ".DS_Store"})
"""Names that editors and tools leave beside a model; they are not part of it and change from run to run."""


class ArchiveError(CommandError):
    """A folder that cannot be packed, or an archive that cannot be unpacked."""


def pack(folder: Path, archive: Path, wheels: Path | None = None) -> list[str]:
    """Write the archive and return its members; the same files always give the same bytes.

    `wheels`: a folder that takes the place of code/wheels.
    """
    if archive.resolve().is_relative_to(folder.resolve()):
        raise ArchiveError(f"{archive} lies inside {folder}, the folder to pack; write it elsewhere with -o")
    unfinished = archive.with_name(f".{archive.name}.{os.getpid()}.part")
    try:
        with unfinished.open("xb") as stream:
            names = _write(_all_members(folder, wheels), stream)
        unfinished.replace(archive)
    except OSError as error:
        raise ArchiveError(f"cannot pack {folder}: {error.filename or archive}: {error.strerror or error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return names


def unpack(archive: Path, folder: Path) -> None:
    """Unpack into an existing folder, by the rules of `polyhost.archives`, up to the free space of its disk."""
    try:
        archives.unpack(archive, folder, shutil.disk_usage(folder).free)
    except archives.InvalidArchiveError as error:
        raise ArchiveError(f"cannot unpack {archive}: {error}; make it with polyhost pack") from error
    except OSError as error:
        raise ArchiveError(
            f"cannot unpack {archive}: {error.filename or archive}: {error.strerror or error}"
        ) from error


def _members(folder: Path) -> Iterator[Path]:
    """Yield every file and folder that belongs to the model, in a fixed order."""
    for path in sorted(folder.iterdir()):
        if path.name in _LEFT_OUT:
            continue
        _check_member(path)
        yield path
        if path.is_dir():
            yield from _members(path)


def _all_members(folder: Path, wheels: Path | None) -> list[tuple[str, Path]]:
    """Return the name and the path of each member, in a fixed order."""
    members = [(path.relative_to(folder).as_posix(), path) for path in _members(folder)]
    if wheels is None:
        return members
    kept = [item for item in members if not f"{item[0]}/".startswith(f"{_WHEELS}/")]
    names = {name for name, _ in kept}
    parents = [(name, folder) for name in (str(Path(_WHEELS).parent),) if name not in names]
    own = [(f"{_WHEELS}/{path.name}", path) for path in sorted(wheels.iterdir())]
    return sorted([*kept, *parents, (_WHEELS, wheels), *own], key=lambda item: item[0].split("/"))


def _write(members: list[tuple[str, Path]], stream: BinaryIO) -> list[str]:
    names = []
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=stream, compresslevel=6, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for name, path in members:
            _add(tar, path, f"./{name}")
            names.append(name)
    return names


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    """Add one member without its owner, time and exact mode, which do not belong to the model."""
    entry = tarfile.TarInfo(name)
    if path.is_dir():
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(entry)
        return
    with path.open("rb") as content:
        status = os.fstat(content.fileno())
        entry.size, entry.mode = status.st_size, 0o755 if status.st_mode & stat.S_IXUSR else 0o644
        tar.addfile(entry, content)


def _check_member(path: Path) -> None:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise ArchiveError(
            f"{path} is a symbolic link; put the file itself there, so that the archive does not depend on links"
        )
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ArchiveError(f"{path} is neither a file nor a folder; remove it")
    if not path.name.isprintable():  # bytes that are not UTF-8 arrive as surrogates, which are not printable
        raise ArchiveError(f"{path.parent} holds the unprintable name {path.name!r}; rename it")
