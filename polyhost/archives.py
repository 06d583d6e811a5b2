"""Model archives, which strangers may have made, unpacked in a process of their own with limits for time and memory.

`tarfile` can be made to take minutes, holding the interpreter (and with it all threads), and gigabytes.
"""

import errno
import math
import os
import select
import signal
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from polyhost.extraction import InvalidArchiveError
from polyhost.extractor_process import ArchiveKind, ExtractorProcess, StandbyExtractorProcess

__all__ = ["ArchiveKind", "Extractor", "InvalidArchiveError", "unpack"]

# However small the archive is: 100,000 members take half a minute on a busy machine.
MIN_SECONDS = 120
_BYTES_PER_SECOND = 1_000_000  # of the archive; slow disks write tens of megabytes a second, and weights hardly shrink
_RESULT_BYTES = 1 << 16


def unpack(archive: Path, folder: Path, limit_bytes: int, kind: ArchiveKind = ArchiveKind.TAR) -> int:
    """Unpack an archive, by default a gzip-compressed tar, into an existing folder; return the bytes of its files.

    Nothing is written, and no link points, outside the folder. Allowed are files, folders, and links to inside (as the
    `tar` of SageMaker unpacks them; hard links become symbolic ones). Of a file's mode only "executable" is kept. The
    archive is read to its end, where gzip has its checksum. Its limits: `limit_bytes` for all files together, with the
    holes of sparse ones; what extraction.py says for members, depth and names; two minutes and a second per megabyte.

    Raises InvalidArchiveError, and OSError if the disk or the process is at fault; neither names the archive. Either
    may leave members unpacked before it in the folder: the caller removes it.
    """
    with Extractor(kind=kind) as extractor:
        return extractor.unpack(archive, folder, limit_bytes)


class Extractor:
    """A process that unpacks one archive; in a `with` block.

    Enter the block before the archive is there, and the process will have started by then. With `standby` it has
    started already, if one is left.
    """

    def __init__(
        self,
        min_seconds: int = MIN_SECONDS,
        standby: StandbyExtractorProcess | None = None,
        kind: ArchiveKind = ArchiveKind.TAR,
    ) -> None:
        self.aborted = False
        self._kind = kind
        self._min_seconds = min_seconds
        self._standby = standby
        self._process: ExtractorProcess | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Start the process. Raises OSError."""
        with self._lock:
            self._check_aborted()
            self._process = ExtractorProcess(self._kind) if self._standby is None else self._standby.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill the process, unless it has ended."""
        self._started.end()

    def abort(self) -> None:
        """Kill the process, in any thread: `unpack` raises InterruptedError. Do nothing after its end."""
        with self._lock:
            self.aborted = True
            if self._process is not None:
                self._process.kill()

    def unpack(self, archive: Path, folder: Path, limit_bytes: int) -> int:
        """Unpack, once; see the function of this name."""
        seconds = self._seconds(archive.stat().st_size)
        self._send(seconds, 0, limit_bytes, os.fsencode(archive), folder)
        return self._result(seconds)

    def unpack_stream(
        self, chunks: Iterable[bytes], size: int, folder: Path, limit_bytes: int, come_within_s: float
    ) -> int:
        """Unpack an archive of `size` bytes while it comes, once; see the function `unpack`.

        Its time begins with the last chunk; the caller aborts if they take longer than `come_within_s`. Chunks are left
        over if the archive is invalid. Raises what getting a chunk raises.
        """
        seconds = self._seconds(size)
        self._send(seconds, math.ceil(come_within_s), limit_bytes, b"", folder)
        for chunk in chunks:
            if not self._write(memoryview(chunk)):
                break
        self._started.content.close()
        return self._result(seconds)

    def _seconds(self, size: int) -> int:
        return self._min_seconds + size // _BYTES_PER_SECOND

    def _result(self, seconds: int) -> int:
        match self._receive(seconds).split(b"\0"):
            case [b"done", written]:
                return int(written)
            case [b"invalid", reason]:
                raise InvalidArchiveError(reason.decode())
            case [b"failed", number, filename]:
                raise OSError(int(number), os.strerror(int(number)), os.fsdecode(filename) or None)
        raise self._explain_end(seconds)

    @property
    def _started(self) -> ExtractorProcess:
        assert self._process is not None, "not in a `with` block"
        return self._process

    def _check_aborted(self) -> None:
        if self.aborted:
            raise InterruptedError(errno.EINTR, "unpacking was aborted")

    def _send(self, seconds: int, wait_s: int, limit_bytes: int, archive: bytes, folder: Path) -> None:
        stdin = self._started.stdin
        assert stdin is not None
        job = b"%d\0%d\0%d\0%s\0%s\0" % (seconds, wait_s, limit_bytes, archive, os.fsencode(folder))
        try:
            stdin.write(job)  # less than PIPE_BUF, or nearly so: never blocks
        except BrokenPipeError:
            pass  # it has ended, and `_receive` will see that

    def _write(self, chunk: memoryview) -> bool:
        """Return whether the process took it all; else it has ended, and `_receive` says how."""
        try:
            while chunk:
                chunk = chunk[self._started.content.write(chunk) :]
        except BrokenPipeError:
            return False
        return True

    def _receive(self, seconds: int) -> bytes:
        """Return the result; nothing of it if the process died."""
        stdout = self._started.stdout
        assert stdout is not None
        watch = select.poll()
        watch.register(stdout, select.POLLIN)
        deadline = time.monotonic() + seconds
        result = b""
        while left_s := max(0.0, deadline - time.monotonic()):
            if watch.poll(left_s * 1000):
                chunk = os.read(stdout.fileno(), _RESULT_BYTES)
                if not chunk:
                    return result
                result += chunk
        raise _too_slow(seconds)

    def _explain_end(self, seconds: int) -> Exception:
        code = self._started.wait()
        if self.aborted:
            return InterruptedError(errno.EINTR, "unpacking was aborted")
        if code in (-signal.SIGXCPU, -signal.SIGALRM):
            return _too_slow(seconds)
        how = f"exit status {code}" if code >= 0 else f"signal {-code}"
        return ChildProcessError(errno.ECHILD, f"the process that unpacks it ended with {how}")


def _too_slow(seconds: int) -> InvalidArchiveError:
    return InvalidArchiveError(f"not unpacked within {seconds} s")
