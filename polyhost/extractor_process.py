"""The processes that unpack archives, each one archive; and one that is started before there is an archive."""

import fcntl
import os
import subprocess
import sys
import threading
from contextlib import suppress
from enum import Enum
from pathlib import Path

_SOURCES = str(Path(__file__).resolve().parent.parent)
# Isolated: no modules from the working directory or PYTHONPATH, and no `site`, whose .pth files may import anything.
_COMMAND = (sys.executable, "-I", "-S", "-X", "utf8", "-c")
_CODE = f"import sys; sys.path.append({_SOURCES!r}); from polyhost.extraction import main; "


class ArchiveKind(Enum):
    """TAR: compressed by gzip, as SageMaker's model archives are. ZIP: as Lambda's functions are."""

    TAR = "tar"
    ZIP = "zip"


_MAIN = {
    ArchiveKind.TAR: "main({content})",
    ArchiveKind.ZIP: "from polyhost.zip_archives import extract_zip; main({content}, extract_zip)",
}
_PIPE_BYTES = 1 << 20  # what an ordinary user may ask for (/proc/sys/fs/pipe-max-size)


class ExtractorProcess(subprocess.Popen[bytes]):
    """Does its imports and waits for a job; it ends when its stdin does.

    `content` is a pipe for the archive of a job that names no file.
    """

    def __init__(self, kind: ArchiveKind = ArchiveKind.TAR) -> None:
        """Start it. Raises OSError."""
        content, end = os.pipe()
        self.content = open(end, "wb", buffering=0)  # noqa: SIM115, PTH123 - closed by `end`
        with suppress(OSError):  # a smaller one will do
            fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        try:
            super().__init__(
                [*_COMMAND, _CODE + _MAIN[kind].format(content=content)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                pass_fds=(content,),
                start_new_session=True,  # Ctrl-C is for this process, which kills that one
            )
        except BaseException:
            self.content.close()
            raise
        finally:
            os.close(content)  # or writing would not end when that process does

    def end(self) -> None:
        """Kill the process, unless it has ended."""
        self.kill()
        self.wait()
        for pipe in (self.stdin, self.stdout, self.content):
            assert pipe is not None
            pipe.close()


class StandbyExtractorProcess:
    """Keeps one process ready, so that the next archive does not wait for the start of a Python. For any thread.

    The process has no limits yet: they depend on the archive, and nothing of an archive has come to it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: ExtractorProcess | None = None
        self._closed = False

    def prepare(self) -> None:
        """Start the process unless there is one. Where that fails, `take` will say why."""
        with self._lock, suppress(OSError):
            if self._process is None and not self._closed:
                self._process = ExtractorProcess()

    def take(self) -> ExtractorProcess:
        """Return the process, which is the caller's from then on; start one if it is missing. Raises OSError."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                return process
            process.end()  # it was killed meanwhile
        return ExtractorProcess()

    def close(self) -> None:
        """End the process. There will be no other."""
        with self._lock:
            self._closed = True
            process, self._process = self._process, None
        if process is not None:
            process.end()
