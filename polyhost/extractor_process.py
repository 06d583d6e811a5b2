"""The processes that unpack archives, each one archive; and one that is started before there is an archive."""

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
    ArchiveKind.TAR: "main()",
    ArchiveKind.ZIP: "from polyhost.zip_archives import extract_zip; main(extract_zip)",
}


def start(kind: ArchiveKind = ArchiveKind.TAR) -> subprocess.Popen[bytes]:
    """Start a process that does its imports and waits for a job; it ends when its stdin does. Raises OSError."""
    return subprocess.Popen(
        [*_COMMAND, _CODE + _MAIN[kind]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,  # Ctrl-C is for this process, which kills that one
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process, unless it has ended."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


class StandbyExtractorProcess:
    """Keeps one process ready, so that the next archive does not wait for the start of a Python. For any thread.

    The process has no limits yet: they depend on the archive, and nothing of an archive has come to it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def prepare(self) -> None:
        """Start the process unless there is one. Where that fails, `take` will say why."""
        with self._lock, suppress(OSError):
            if self._process is None and not self._closed:
                self._process = start()

    def take(self) -> subprocess.Popen[bytes]:
        """Return the process, which is the caller's from then on; start one if it is missing. Raises OSError."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                return process
            end(process)  # it was killed meanwhile
        return start()

    def close(self) -> None:
        """End the process. There will be no other."""
        with self._lock:
            self._closed = True
            process, self._process = self._process, None
        if process is not None:
            end(process)
