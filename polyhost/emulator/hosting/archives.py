"""Model archives, unpacked so that nothing gets out of its folder."""

import errno
import gzip
import os
import tarfile
import zlib
from pathlib import Path

from polyhost.emulator.errors import ArchiveError

_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE)


def unpack(archive: Path, folder: Path, limit_bytes: int) -> int:
    """Unpacks a gzip-compressed tar into the folder, which exists; gives the bytes written.

    Raises ArchiveError, and OSError where the disk is at fault.
    """
    written = 0
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                target = _inside(folder, member)
                written += member.size if member.isreg() else 0
                if written > limit_bytes:
                    raise ArchiveError(f"the archive is larger than {limit_bytes} bytes when unpacked")
                _write(tar, member, target, folder)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ArchiveError(f"not a complete gzip-compressed tar: {error}") from error
    except (RuntimeError, ValueError) as error:  # links in a circle (pathlib), a NUL in a name
        raise ArchiveError(f"its members do not fit together: {error}") from error
    except OSError as error:
        if error.errno in _OF_THE_DISK:
            raise
        raise ArchiveError(f"its members do not fit together: {error.strerror}") from error
    return written


def _inside(folder: Path, member: tarfile.TarInfo) -> Path:
    target = Path(os.path.normpath(folder / member.name))
    if member.name.startswith("/") or not target.is_relative_to(folder):
        raise ArchiveError(f"member {member.name!r} would be written outside the model's folder")
    # A link that was unpacked before may not lead the way out either; `tar -C DIR .` has the folder itself as a member.
    if target != folder and not target.parent.resolve().is_relative_to(folder.resolve()):
        raise ArchiveError(f"member {member.name!r} would be written outside the model's folder, through a link")
    return target


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, folder: Path) -> None:
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.issym() or member.islnk():
        _link(member, target, folder)
    elif member.isreg():
        source = tar.extractfile(member)
        assert source is not None
        target.unlink(missing_ok=True)
        with source, target.open("xb") as file:
            while piece := source.read(1 << 20):
                file.write(piece)
        target.chmod(0o755 if member.mode & 0o111 else 0o644)
    else:
        raise ArchiveError(f"member {member.name!r} is neither a file, a folder nor a link")


def _link(member: tarfile.TarInfo, target: Path, folder: Path) -> None:
    start = target.parent if member.issym() else folder
    destination = Path(os.path.normpath(start / member.linkname))
    if member.linkname.startswith("/") or not destination.is_relative_to(folder):
        raise ArchiveError(f"member {member.name!r} is a link to {member.linkname!r}, outside the model's folder")
    target.unlink(missing_ok=True)
    target.symlink_to(os.path.relpath(destination, target.parent))
