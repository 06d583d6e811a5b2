"""The extractor of archives, and the process that it runs in (archives.py starts and watches it).

Started for each archive, so it imports little: `typing`, `dataclasses` and `pathlib` would take as long as the
interpreter itself.
"""

import errno
import gzip
import os
import re
import resource
import signal
import tarfile
import zlib

TYPE_CHECKING = False  # the one of `typing`, which is not imported
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    Archive = str | int  # a path, or the number of a file descriptor
    Unpack = Callable[[Archive, str, int], int]

MAX_MEMBERS = 100_000  # with the folders that they imply; each takes an inode and time, and none need take a byte
MAX_DEPTH = 64  # folders
MAX_NAME = 1024  # bytes of a member's path, or of where a link points: POSIX's _XOPEN_PATH_MAX. Linux takes 4,096
MEMORY_BYTES = 512 << 20  # of the process's address space, of which Python takes a tenth

_PR_SET_DUMPABLE = 4
_CHUNK_BYTES = 1 << 16
# `tar` pads an archive to a multiple of its record, 10 KiB unless --blocking-factor says otherwise.
_MAX_PADDING_BYTES = 1 << 26
# `tarfile` reads names and pax headers whole, however large they say they are. Linux takes 4096 bytes for a path
# (PATH_MAX) and 64 KiB for an extended attribute (XATTR_SIZE_MAX).
_MAX_READ_BYTES = 2 * _CHUNK_BYTES
# In a header, `tarfile` looks for numbers with a pattern that takes time by the square of their digits
# (CVE-2024-6232): 95 s for 128 KiB. A file's name has 255 bytes at most.
_LONG_NUMBER = re.compile(rb"\d{256}")
_KNOWN_FOLDERS = 1000  # of whose real paths a note is kept
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
    """An archive that is damaged, exceeds a limit, or has a member that must not be unpacked."""


def extract(archive: "Archive", folder: str, limit_bytes: int) -> int:
    """Unpack as `archives.unpack` says, in this process, without limits for time and memory."""
    try:
        with open(archive, "rb") as file, _Stream(fileobj=file) as stream:
            return _extract(stream, Extraction(os.path.realpath(folder), limit_bytes, stream))
    except InvalidArchiveError:
        raise
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InvalidArchiveError(f"not a complete gzip-compressed tar: {error}") from error
    except OSError as error:
        raise member_error(error, limit_bytes) from error
    except MemoryError as error:
        raise InvalidArchiveError(f"its headers take more than {MEMORY_BYTES >> 20} MB of memory") from error
    except Exception as error:  # whatever `tarfile` raises on headers that it does not foresee
        raise InvalidArchiveError(f"its headers make no sense: {type(error).__name__}: {str(error)[:200]}") from error


def member_error(error: OSError, limit_bytes: int) -> Exception:
    """Return what to raise for an error while members are written: the archive's fault, or the error as it is."""
    if error.errno == errno.EFBIG:  # RLIMIT_FSIZE
        return InvalidArchiveError(too_large(limit_bytes))
    if error.errno not in _MEMBER_ERRNOS:
        return error
    return InvalidArchiveError(f"its members contradict each other: {error.strerror}")


def _extract(stream: "_Stream", extraction: "Extraction") -> int:
    with tarfile.open(fileobj=stream, mode="r:", tarinfo=_Member) as tar:
        while (member := tar.next()) is not None:
            extraction.add(member, tar)
            tar.members.clear()  # type: ignore[attr-defined]  # kept for look-ups, a kilobyte each
        stream.in_header = False
        padding = 0
        while chunk := stream.read(_CHUNK_BYTES):  # to the end, where gzip has its checksum (RFC 1952)
            padding += len(chunk)
            if padding > _MAX_PADDING_BYTES:
                raise InvalidArchiveError(f"more than {_MAX_PADDING_BYTES} bytes follow the end of the tar")
    return extraction.written_bytes


def too_large(limit_bytes: int) -> str:
    return f"larger than {limit_bytes} bytes when unpacked"


class MemberSource:
    """Where members' contents come from."""

    in_header = True  # else in a file's content

    def open_member(self, member: tarfile.TarInfo, tar: tarfile.TarFile | None) -> "IO[bytes]":
        """Return the content of a member that is a file."""
        assert tar is not None
        source = tar.extractfile(member)
        assert source is not None
        return source


class _Stream(gzip.GzipFile, MemberSource):
    """The tar inside, with limits for what `tarfile` reads of a header."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _MAX_READ_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        content = super().read(size)
        if self.in_header and _LONG_NUMBER.search(content):
            raise tarfile.ReadError("a header with a number of more than 255 digits")
        return content


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


class Extraction:
    """Members on their way into the folder `root`, a real path.

    Invariant: each link below the root has a target of the form `../` times k, then plain names, where k is at most the
    depth of the real folder that holds the link. However such links are chained, and whatever is unpacked after them, a
    path that begins inside then stays inside: it climbs k real folders at most, and each plain name is a file, a
    folder, or a link of that form.
    """

    def __init__(self, root: str, limit_bytes: int, source: MemberSource) -> None:
        self.limit_bytes = limit_bytes
        self.written_bytes = 0
        self._root = root
        self._source = source
        self._members = 0
        self._real: dict[str, str] = {"": root}  # real paths of folders by their names; none are kept beyond a new link
        self._last_folder = root  # exists, and stays: no member replaces a folder

    def add(self, member: tarfile.TarInfo, tar: tarfile.TarFile | None = None) -> None:
        """Unpack the next member. Raises InvalidArchiveError and OSError."""
        self._count()
        target = self._target(member)
        if member.isdir():
            self._make_folder(target)
        elif member.issym() or member.islnk():
            self._link(member, target)
        elif member.isreg():
            self._write(member, target, tar)
        else:
            raise InvalidArchiveError(f"member {_name(member)} is neither a file, a folder nor a link")

    def _count(self) -> None:
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise InvalidArchiveError(f"it has more than {MAX_MEMBERS} members")

    def _target(self, member: tarfile.TarInfo) -> str:
        """Return the path to write to, of which the folder part is real: no link is followed by writing there."""
        name = member.name
        if "\0" in name + member.linkname:
            raise InvalidArchiveError(f"member {_name(member)} has a NUL in a name")
        if max(len(os.fsencode(name)), len(os.fsencode(member.linkname))) > MAX_NAME:
            raise InvalidArchiveError(f"member {_name(member)} has a name of more than {MAX_NAME} bytes")
        parts = name.split("/")
        if name.startswith("/") or ".." in parts:
            raise _outside(member)
        parts = [part for part in parts if part not in ("", ".")]
        if len(parts) > MAX_DEPTH:
            raise InvalidArchiveError(f"member {_name(member)} is more than {MAX_DEPTH} folders deep")
        if not parts:  # `tar -C FOLDER .` has the folder itself as a member
            return self._root
        return f"{self._real_folder('/'.join(parts[:-1]), member)}/{parts[-1]}"

    def _real_folder(self, name: str, member: tarfile.TarInfo) -> str:
        found = self._real.get(name)
        if found is None:
            found = os.path.realpath(f"{self._root}/{name}")
            if not self._is_inside(found):  # by a link that lay in the folder before
                raise _outside(member)
            if len(self._real) > _KNOWN_FOLDERS:
                self._forget_folders()
            self._real[name] = found
        return found

    def _forget_folders(self) -> None:
        self._real = {"": self._root}
        self._last_folder = self._root

    def _is_inside(self, path: str) -> bool:
        return path == self._root or path.startswith(os.path.join(self._root, ""))

    def _link(self, member: tarfile.TarInfo, target: str) -> None:
        """Write a symbolic link for a hard link too: one to a link would move it, and with it where it points."""
        start = os.path.dirname(target) if member.issym() else self._root
        destination = os.path.normpath(os.path.join(start, member.linkname))
        if member.linkname.startswith("/") or not self._is_inside(destination):
            raise InvalidArchiveError(
                f"member {_name(member)} is a link to {_short(member.linkname)}, outside the model's folder"
            )
        if member.islnk() and (target == destination or not os.path.exists(destination)):
            raise InvalidArchiveError(
                f"member {_name(member)} is a hard link to {_short(member.linkname)}, which is missing"
            )
        self._make_way(target)
        self._forget_folders()
        # The form that the invariant demands.
        os.symlink(os.path.relpath(destination, os.path.dirname(target)), target)

    def _write(self, member: tarfile.TarInfo, target: str, tar: tarfile.TarFile | None) -> None:
        if member.size < 0:  # a pax header may say so
            raise tarfile.ReadError("a negative size")
        self.written_bytes += member.size  # of a sparse file with its holes
        if self.written_bytes > self.limit_bytes:
            raise InvalidArchiveError(too_large(self.limit_bytes))
        self._make_way(target)
        with open(target, "xb") as file:
            if member.size:
                content = self._source.open_member(member, tar)
                self._source.in_header = False
                while chunk := content.read(_CHUNK_BYTES):
                    file.write(chunk)
                self._source.in_header = True
            os.fchmod(file.fileno(), 0o755 if member.mode & 0o111 else 0o644)

    def _make_way(self, target: str) -> None:
        """Of two members of one name the later one stays, as with `tar`."""
        self._make_folder(os.path.dirname(target))
        try:
            os.unlink(target)
        except FileNotFoundError:
            return
        self._forget_folders()  # it may have been a link

    def _make_folder(self, folder: str) -> None:
        if folder == self._last_folder:
            return
        missing = []
        while not os.path.isdir(folder):
            if folder == self._root:  # removed by those who do not want it any more
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder)
            missing.append(folder)
            folder = os.path.dirname(folder)
        for folder in reversed(missing):
            self._count()
            os.mkdir(folder)
        self._last_folder = folder


def _outside(member: tarfile.TarInfo) -> InvalidArchiveError:
    return InvalidArchiveError(f"member {_name(member)} would be written outside the model's folder")


def _name(member: tarfile.TarInfo) -> str:
    return _short(member.name)


def _short(name: str) -> str:
    return repr(name if len(name) <= 200 else f"{name[:200]}...")


# The process. Fields of both messages are separated by NUL, which no path holds.


def main(content: int, unpack: "Unpack" = extract) -> None:
    """Unpack the archive that the standard input names, within limits, and write the result to the standard output.

    Where it names none, the archive is what comes through the file descriptor `content`.

    The input's end means that there is nothing to do; whenever it comes, the kernel ends this process.
    """
    _close_to_others()
    job = b""
    while job.count(b"\0") < 5 and (read := os.read(0, _CHUNK_BYTES)):
        job += read
    if job:
        _die_with_parent()
        seconds, wait_s, limit_bytes, archive, folder, _ = job.split(b"\0")
        _set_limits(int(seconds), int(wait_s), int(limit_bytes))
        result = _result(unpack, os.fsdecode(archive) or content, os.fsdecode(folder), int(limit_bytes))
        os.write(1, b"\0".join(result))
    os._exit(0)


def _result(unpack: "Unpack", archive: "Archive", folder: str, limit_bytes: int) -> tuple[bytes, ...]:
    try:
        return b"done", b"%d" % unpack(archive, folder, limit_bytes)
    except InvalidArchiveError as error:
        return b"invalid", str(error).encode(errors="backslashreplace")
    except OSError as error:
        filename = error.filename if isinstance(error.filename, str) else ""
        return b"failed", b"%d" % (error.errno or errno.EIO), os.fsencode(filename)


def _close_to_others() -> None:
    """Keep other processes of this user from this one's memory and input: by a job of theirs it would write anywhere.

    The program calls prctl(2) itself, since an exec undoes it. As a user other than root it cannot open its own files
    in /proc any more, of which it needs none.
    """
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0)


def _die_with_parent() -> None:
    """Have the kernel kill this process when the other end of the standard input is closed (fcntl(2), F_SETSIG).

    Not by looking at it now and then: `re` may hold the interpreter for minutes.
    """
    import fcntl
    import select

    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    watch = select.poll()
    watch.register(0, 0)
    if watch.poll(0):  # it was closed before
        os._exit(0)


def _set_limits(seconds: int, wait_s: int, limit_bytes: int) -> None:
    """Set the limits; what is beyond them is an error here, or ends this process. `wait_s`: for the archive to come."""
    signal.alarm(seconds + wait_s + 1)  # also while the parent is stopped; by default the signal ends this process
    for kind, most in (
        (resource.RLIMIT_CORE, 0),  # SIGXCPU would write one
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, limit_bytes),
    ):
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
