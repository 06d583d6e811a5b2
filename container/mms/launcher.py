"""A launcher: the sleeping shell that Multi Model Server takes for a model's Python. See bin/launcher."""

import os
import signal
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LAUNCHES = "launches"  # folder of the records, one a launcher, named by its pid
FIFO = "launch.fifo"
_NAMES = ("launcher", "sleep")  # before and after its exec


@dataclass(frozen=True)
class LaunchArguments:
    """What MMS starts its workers with (WorkerLifeCycle.java)."""

    socket_path: str
    handler: str
    model_path: str
    model_name: str
    temp_dir: str

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> "LaunchArguments":
        """`arguments` as MMS gave them: the script, then pairs of an option and its value."""
        options = dict(zip(arguments[1::2], arguments[2::2], strict=False))
        return cls(
            socket_path=options["--sock-name"],
            handler=options["--handler"],
            model_path=options["--model-path"],
            model_name=options["--model-name"],
            temp_dir=options["--tmp-dir"],
        )


class Launcher:
    """One launcher process. Not our child but Java's, which therefore is the one to reap it."""

    def __init__(self, run_dir: Path, pid: int) -> None:
        """Raises ProcessLookupError where the process is gone, FileNotFoundError where it left no whole record."""
        self.pid = pid
        self._record = run_dir / LAUNCHES / str(pid)
        self.arguments = _read_record(self._record)
        self.pidfd = _pidfd(pid)
        if not _is_launcher(pid):  # asked after the pidfd was opened, so that both mean the same process
            self._close_pidfd()
            raise ProcessLookupError(f"{pid} is another process now")

    def say_started(self) -> None:
        """The line on the launcher's stdout at which MMS connects to the model's socket (WorkerLifeCycle.java)."""
        with Path(f"/proc/{self.pid}/fd/3").open("w") as stdout:
            stdout.write("MMS worker started.\n")

    def complain(self, message: str) -> None:
        """A line for MMS's own log; without "started" before it, MMS lets the load fail when the launcher ends."""
        with Path(f"/proc/{self.pid}/fd/2").open("w") as stderr:
            stderr.write(f"{message}\n")

    def kill(self) -> None:
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def kill_and_listen(self) -> int | None:
        """Ends it; gives a descriptor that hangs up when Java has taken note of that, and not before.

        Java closes its end of a dead child's stdin last of all, after Process.isAlive() has become false
        (ProcessImpl.initStreams). None where stdin is no pipe, or the launcher is gone already.
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
    def reaped(self) -> bool:
        """Whether Java has taken note of its end. Until then it is a zombie, which a signal still finds."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def forget(self) -> None:
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
        raise FileNotFoundError(f"{path} is not whole: {missing} is missing") from None


def _is_launcher(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() in _NAMES
    except OSError:
        return False


def _pidfd(pid: int) -> int | None:
    """None where the kernel or a seccomp profile refuses; the fork server looks from time to time then."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except OSError:
        return None


def drop_record(run_dir: Path, pid: int) -> None:
    (run_dir / LAUNCHES / str(pid)).unlink(missing_ok=True)


def recorded(run_dir: Path) -> list[int]:
    """The launchers that have asked and not been forgotten, e.g. by a fork server that died."""
    return sorted(int(path.name) for path in (run_dir / LAUNCHES).iterdir() if path.name.isdecimal())
