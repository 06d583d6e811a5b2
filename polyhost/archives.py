"""The one extractor of model archives, for archives that strangers may have made."""

import errno
import gzip
import os
import tarfile
import zlib
from pathlib import Path
from typing import BinaryIO, NoReturn

_CHUNK_BYTES = 1 << 16
# `tar` pads an archive to a multiple of its record, 10 KiB unless --blocking-factor says otherwise.
_MAX_PADDING_BYTES = 1 << 26
_MAX_MEMBERS = 1_000_000  # each takes an inode and time, and none need take a byte
# `tarfile` reads names and pax headers whole, however large they say they are. Linux takes 4096 bytes for a path
# (PATH_MAX) and 64 KiB for an extended attribute (XATTR_SIZE_MAX).
_MAX_READ_BYTES = 2 * _CHUNK_BYTES
# What a system call says about members that contradict each other: a file below a file, links in a circle, names that
# no file can have. Every other errno is about the disk or the process.
_MEMBER_ERRNOS = frozenset(
    {
        errno.EEXIST,
        errno.EILSEQ,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
        errno.ENOTEMPTY,
    }
)


class InvalidArchiveError(Exception):
    """An archive that is damaged, too large when unpacked, or has a member that must not be unpacked."""


def unpack(archive: Path, folder: Path, limit_bytes: int) -> int:
    """Unpack a gzip-compressed tar into an existing folder and return the bytes written to its files.

    Nothing is written, and no link points, outside the folder. Allowed are files, folders, and links to inside (as the
    `tar` of SageMaker unpacks them; hard links become symbolic ones). Of a file's mode only "executable" is kept. The
    archive is read to its end, where gzip has its checksum (RFC 1952).

    Raises InvalidArchiveError, and OSError if the disk or the process is at fault. Either may leave members unpacked
    before it in the folder: the caller removes it.
    """
    with archive.open("rb") as file:
        try:
            return _unpack(file, _Extraction(Path(os.path.realpath(folder)), limit_bytes))
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InvalidArchiveError(f"not a complete gzip-compressed tar: {error}") from error
        except (RuntimeError, ValueError, OverflowError) as error:  # `tarfile` on headers that it does not foresee
            raise InvalidArchiveError(f"its headers make no sense: {error}") from error
        except OSError as error:
            if error.errno not in _MEMBER_ERRNOS:
                raise
            raise InvalidArchiveError(f"its members contradict each other: {error.strerror}") from error


def _unpack(file: BinaryIO, extraction: "_Extraction") -> int:
    with _Stream(fileobj=file) as stream, tarfile.open(fileobj=stream, mode="r:", tarinfo=_Member) as tar:
        for _ in range(_MAX_MEMBERS):
            if (member := tar.next()) is None:
                break
            extraction.add(member, tar)
            tar.members.clear()  # type: ignore[attr-defined]  # kept for look-ups, a kilobyte each
        else:
            raise InvalidArchiveError(f"it has more than {_MAX_MEMBERS} members")
        padding = 0
        while chunk := stream.read(_CHUNK_BYTES):
            padding += len(chunk)
            if padding > _MAX_PADDING_BYTES:
                raise InvalidArchiveError(f"more than {_MAX_PADDING_BYTES} bytes follow the end of the tar")
    return extraction.written_bytes


class _Stream(gzip.GzipFile):
    """The tar inside, with a limit for what is read into memory at once."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _MAX_READ_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size)


class _Member(tarfile.TarInfo):
    """A member, of which a damaged header is always an error.

    `tarfile` takes such a header behind the first member for the archive's end, and on a negative size it reads the
    same headers for ever (CVE-2025-8194).
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Member":
        try:
            member = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if any(buf):  # else the block of zeros that ends a tar, or no block at all
                raise tarfile.ReadError(str(error)) from error
            raise
        if member.size < 0:
            raise tarfile.ReadError("a negative size")
        return member


class _Extraction:
    """Members on their way into the folder `root`, a real path.

    Invariant: each link below the root has a target of the form `../` times k, then plain names, where k is at most the
    depth of the real folder that holds the link. However such links are chained, and whatever is unpacked after them, a
    path that begins inside then stays inside: it climbs k real folders at most, and each plain name is a file, a
    folder, or a link of that form.
    """

    def __init__(self, root: Path, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.written_bytes = 0
        self._root = root

    def add(self, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
        target = self._target(member)
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
        elif member.issym() or member.islnk():
            self._link(member, target)
        elif member.isreg():
            self._write(member, target, tar)
        else:
            raise InvalidArchiveError(f"member {member.name!r} is neither a file, a folder nor a link")

    def _target(self, member: tarfile.TarInfo) -> Path:
        """Return the path to write to, of which the folder part is real: no link is followed by writing there."""
        if "\0" in member.name + member.linkname:
            raise InvalidArchiveError(f"member {member.name!r} has a NUL in a name")
        if member.name.startswith("/") or ".." in member.name.split("/"):
            self._reject_outside(member)
        target = Path(os.path.normpath(self._root / member.name))
        if target == self._root:  # `tar -C FOLDER .` has the folder itself as a member
            return target
        parent = Path(os.path.realpath(target.parent))
        if not parent.is_relative_to(self._root):  # by a link that lay in the folder before
            self._reject_outside(member)
        return parent / target.name

    def _reject_outside(self, member: tarfile.TarInfo) -> NoReturn:
        raise InvalidArchiveError(f"member {member.name!r} would be written outside the model's folder")

    def _link(self, member: tarfile.TarInfo, target: Path) -> None:
        """Write a symbolic link for a hard link too: one to a link would move it, and with it where it points."""
        start = target.parent if member.issym() else self._root
        destination = Path(os.path.normpath(start / member.linkname))
        if member.linkname.startswith("/") or not destination.is_relative_to(self._root):
            raise InvalidArchiveError(
                f"member {member.name!r} is a link to {member.linkname!r}, outside the model's folder"
            )
        if member.islnk() and (target == destination or not destination.exists()):
            raise InvalidArchiveError(f"member {member.name!r} is a hard link to {member.linkname!r}, which is missing")
        self._make_way(target)
        target.symlink_to(os.path.relpath(destination, target.parent))  # the form that the invariant demands

    def _write(self, member: tarfile.TarInfo, target: Path, tar: tarfile.TarFile) -> None:
        if member.size < 0:  # a pax header may say so
            raise tarfile.ReadError("a negative size")
        self.written_bytes += member.size
        if self.written_bytes > self.limit_bytes:
            raise InvalidArchiveError(f"larger than {self.limit_bytes} bytes when unpacked")
        self._make_way(target)
        source = tar.extractfile(member)
        assert source is not None
        with source, target.open("xb") as file:
            while chunk := source.read(_CHUNK_BYTES):
                file.write(chunk)
        target.chmod(0o755 if member.mode & 0o111 else 0o644)

    def _make_way(self, target: Path) -> None:
        """Of two members of one name the later one stays, as with `tar`."""
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
