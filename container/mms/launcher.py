"""A launcher: the sleeping shell that Multi Model Server takes for a model's Python (resources/launcher).

MMS starts one for each model, watches it, and kills it to end the model. The launcher writes a record of its arguments
to the run folder and its pid to a FIFO there, for the fork server.
"""

import os
import signal
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polyhost.container.system.procfs import parent_of

LAUNCHES = "launches"  # folder of the records, one for each launcher, named by its pid
FIFO = "launch.fifo"
_COMMANDS = ("launcher", "sleep")  # what runs in the process, before and after its exec


@dataclass(frozen=True)
class LaunchArguments:
    """The arguments with which MMS starts its workers (WorkerLifeCycle.java)."""

    socket_path: str
    handler: str
    model_path: str
    model_name: str
    temp_dir: str

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> "LaunchArguments":
        """Parse what MMS passed: the script, then pairs of an option and its value. Raises KeyError."""
        options = dict(zip(arguments[1::2], arguments[2::2], strict=False))
        return cls(
            socket_path=options["--sock-name"],
            handler=options["--handler"],
            model_path=options["--model-path"],
            model_name=options["--model-name"],
            temp_dir=options["--tmp-dir"],
        )


class Launcher:
    """One launcher process. It is Java's child, not ours, so only Java can reap it."""

    def __init__(self, run_dir: Path, pid: int) -> None:
        """Raise ProcessLookupError if the process has ended, FileNotFoundError if its record is not complete."""
        self.pid = pid
        self._record = run_dir / LAUNCHES / str(pid)
        self.arguments = _read_record(self._record)
        self.pidfd = _open_pidfd(pid)
        if not _is_launcher(pid):  # checked once the pidfd is open, so that both concern the same process
            self._close_pidfd()
            raise ProcessLookupError(f"{pid} is another process now")
        self.java = parent_of(pid)

    def report_started(self) -> None:
        """Write the line to the launcher's stdout at which MMS connects to the model's socket (WorkerLifeCycle.java).

        Raises OSError if the launcher has ended.
        """
        with Path(f"/proc/{self.pid}/fd/3").open("w") as stdout:
            stdout.write("MMS worker started.\n")

    def report_error(self, message: str) -> None:
        """Write a line for MMS's log. The load fails in MMS if the launcher ends without having reported its start."""
        with Path(f"/proc/{self.pid}/fd/2").open("w") as stderr:
            stderr.write(f"{message}\n")

    def kill(self) -> None:
        """Kill the process."""
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def kill_and_open_stdin(self) -> int | None:
        """Kill the process; return a descriptor that hangs up when Java has noticed its end, and not before.

        The descriptor is the launcher's stdin. Java closes its end of a dead child's stdin last of all, after
        Process.isAlive() has become false (ProcessImpl.initStreams). Returns None if stdin is not a pipe, or the
        launcher has ended already.
        """
        try:
            stdin = os.open(f"/proc/{self.pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        self.kill()
        if stat.S_ISFIFO(os.fstat(stdin).st_mode):
            return stdin
        os.close(stdin)
        return None

    @property
    def is_reaped(self) -> bool:
        """Whether Java has noticed its end. Until then it is a zombie, which a signal still finds."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def close(self) -> None:
        """Remove the record and close the pidfd; idempotent."""
        self._record.unlink(missing_ok=True)
        self._close_pidfd()

    def _close_pidfd(self) -> None:
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None


def _read_record(path: Path) -> LaunchArguments:
    try:
        return LaunchArguments.parse([os.fsdecode(field) for field in path.read_bytes().split(b"\0")[:-1]])
    except KeyError as missing:
        raise FileNotFoundError(f"{path} is not complete: {missing} is missing") from None


def _is_launcher(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() in _COMMANDS
    except OSError:
        return False


def _open_pidfd(pid: int) -> int | None:
    """Return None if the kernel or a seccomp profile does not allow it: then the adapter polls `is_reaped`."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except OSError:
        return None


def remove_record(run_dir: Path, pid: int) -> None:
    """Remove the record of a launcher that has ended."""
    (run_dir / LAUNCHES / str(pid)).unlink(missing_ok=True)


def recorded_pids(run_dir: Path) -> list[int]:
    """Return the launchers that have asked for a worker and are not closed, e.g. since the fork server died."""
    return sorted(int(path.name) for path in (run_dir / LAUNCHES).iterdir() if path.name.isdecimal())
