"""The extractor of zip archives: their members, in the form that those of a tar have, go through extraction.py."""

import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from polyhost.extraction import MEMORY_BYTES, Extraction, InvalidArchiveError, MemberSource, member_error

_MAX_LINK_BYTES = 4096  # PATH_MAX of Linux


def extract_zip(archive: str | int, folder: str, limit_bytes: int) -> int:
    """Unpack as `archives.unpack` says, in this process, without limits for time and memory."""
    try:
        assert isinstance(archive, str), "a zip's directory is at its end"
        with zipfile.ZipFile(archive) as content:
            members = _Members(content)
            extraction = Extraction(os.path.realpath(folder), limit_bytes, members)
            for member in members:
                extraction.add(member)
            return extraction.written_bytes
    except (zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error, RuntimeError) as error:
        raise InvalidArchiveError(f"not a complete zip: {error}") from error
    except OSError as error:
        raise member_error(error, limit_bytes) from error
    except MemoryError as error:
        raise InvalidArchiveError(f"its directory takes more than {MEMORY_BYTES >> 20} MB of memory") from error


class _Members(MemberSource):
    """A zip's members. No more of one is read than the size that the archive declares."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._current: zipfile.ZipInfo | None = None

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        for info in self._archive.infolist():
            self._current = info
            yield self._member(info)

    def open_member(self, member: tarfile.TarInfo, tar: tarfile.TarFile | None) -> IO[bytes]:
        assert self._current is not None
        return self._archive.open(self._current)

    def _member(self, info: zipfile.ZipInfo) -> tarfile.TarInfo:
        mode = info.external_attr >> 16  # in archives that were made on Unix
        member = tarfile.TarInfo(info.filename.rstrip("/") or ".")
        member.mode, member.size = mode, info.file_size
        if info.is_dir():
            member.type, member.size = tarfile.DIRTYPE, 0
        elif stat.S_ISLNK(mode):
            if info.file_size > _MAX_LINK_BYTES:
                raise zipfile.BadZipFile(f"member {info.filename[:200]!r} is a link of {info.file_size} bytes")
            member.type, member.size = tarfile.SYMTYPE, 0
            member.linkname = os.fsdecode(self._archive.read(info))
        elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            member.type = tarfile.FIFOTYPE  # or a device or a socket, which the extraction rejects as well
        return member
