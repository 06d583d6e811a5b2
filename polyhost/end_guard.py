"""A command that runs when this process has ended: SIGKILL leaves a process no time to tidy up."""

import os
import subprocess
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

# The end of file comes when no process holds the other end of the pipe any more. Every other program that this process
# starts closes it (PEP 446).
_WAITS = 'read -r _; exec "$@"'


class EndGuard:
    """A shell that runs a command once this process has ended, however that happened, unless it is cancelled.

    Not by the kernel's signal for it (prctl(2), PR_SET_PDEATHSIG): that comes when the thread ends that started a
    process, and reaches only this one process.
    """

    def __init__(self, command: Sequence[str | Path], environ: Mapping[str, str] | None = None) -> None:
        """`environ`: of the command; by default this process's. Raises OSError if no process can be started."""
        shell = subprocess.Popen(
            ["/bin/sh", "-c", _WAITS, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ if environ is None else environ,
            start_new_session=True,  # Ctrl-C in the terminal is what it has to outlive
        )
        # Also if this object is dropped, but not at the interpreter's end.
        self._cancel = weakref.finalize(self, _end, shell)
        self._cancel.atexit = False

    def cancel(self) -> None:
        """Leave the command out; may be called twice."""
        self._cancel()


def _end(shell: subprocess.Popen[bytes]) -> None:
    shell.kill()
    shell.wait()
    assert shell.stdin is not None
    shell.stdin.close()
