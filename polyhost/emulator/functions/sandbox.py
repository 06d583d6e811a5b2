"""Processes of functions: isolated as far as the kernel lets this user, so that none outlives its environment.

A mount namespace gives each environment a /tmp of its own and makes its code read-only; when the first process of a
PID namespace ends, the kernel kills all others in it (pid_namespaces(7)). Where namespaces cannot be made, functions
share /tmp, and their processes are found by an environment variable.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from polyhost.emulator.functions.runtime_process import how_ended
from polyhost.emulator.hosting.control_group import OwnControlGroup
from polyhost.processes import processes_with

MARK = "POLYHOST_FUNCTION"
_NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc")
_AS_USER = ("--user", "--map-root-user")
# Joins the control group, then becomes the rest of the arguments.
_JOIN = 'echo $$ >"$1" && shift && exec "$@"'
# `unshare` complains when its child is killed, which is no line of the function's.
_SILENT = 'exec "$@" 3>&2 2>/dev/null'
# Not `exec`: the first process of a PID namespace does not get the signals that it has no handler for.
_MOUNT = """
exec 2>&3 3>&-
mount --bind "$1" /tmp && mount --bind "$2" "$2" && mount -o remount,bind,ro "$2" && cd "$2" && shift 2 && "$@"
exit $?
"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sandbox:
    """What an environment's processes get. `name` is unique on the machine, `temp` becomes their /tmp."""

    name: str
    code: Path
    temp: Path
    memory_bytes: int


class SandboxProcess:
    """A function's runtime, with all processes that it has started."""

    def __init__(self, process: asyncio.subprocess.Process, sandbox: Sandbox, group: OwnControlGroup | None) -> None:
        self._process = process
        self._sandbox = sandbox
        self._group = group

    @classmethod
    async def start(
        cls, arguments: Sequence[str], sandbox: Sandbox, environ: Mapping[str, str], output: int
    ) -> "SandboxProcess":
        """Start the runtime; what it prints goes to the descriptor `output`. Raises OSError."""
        group = OwnControlGroup.make(sandbox.name, sandbox.memory_bytes)
        isolated = _isolation()
        if isolated:
            mounted = ("sh", "-c", _MOUNT, "sh", str(sandbox.temp), str(sandbox.code), *arguments)
            arguments = ["/bin/sh", "-c", _SILENT, "sh", *isolated, *mounted]
        else:
            environ = {**environ, "TMPDIR": str(sandbox.temp)}
        arguments = ["setpriv", "--pdeathsig", "KILL", "--", *arguments]
        if group is not None:
            arguments = ["/bin/sh", "-c", _JOIN, "sh", str(group.members), *arguments]
        try:
            process = await asyncio.create_subprocess_exec(
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**environ, MARK: sandbox.name},
                cwd=sandbox.code,
                start_new_session=True,
            )
        except BaseException:
            if group is not None:
                group.remove()
            raise
        return cls(process, sandbox, group)

    async def wait(self) -> str:
        """Return how the runtime ended, in Lambda's words, once it has."""
        return how_ended(await self._process.wait())

    async def memory_bytes(self) -> int:
        """Return what its processes occupy now."""
        if self._group is not None:
            return self._group.used()
        return sum(_resident_bytes(pid) for pid in self._members())

    async def flush(self) -> None:
        """Do nothing: what processes print goes to the log itself."""

    async def stop(self) -> None:
        """Kill all processes, and return when none is left."""
        for pid in self._first_processes() or [self._process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self._process.wait()
        await asyncio.to_thread(self._sweep)

    def _sweep(self) -> None:
        for pid in self._members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._group is not None:
            with contextlib.suppress(OSError):
                self._group.remove()

    def _first_processes(self) -> list[int]:
        """Return the children of `unshare`: with the first process of the namespace all others have ended."""
        if self._process.returncode is not None or not _isolation():
            return []
        pid = self._process.pid
        try:
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:
            return []

    def _members(self) -> list[int]:
        if self._group is not None:
            with contextlib.suppress(OSError):
                return [int(pid) for pid in self._group.members.read_text().split()]
        return processes_with(MARK, self._sandbox.name, self._process.pid)


def remove_groups(pattern: str) -> None:
    """Remove control groups that a killed emulator has left behind; its processes ended with it."""
    for group in OwnControlGroup.named(pattern):
        with contextlib.suppress(OSError):
            group.remove()


@cache
def _isolation() -> tuple[str, ...]:
    """Return the command that makes namespaces, or nothing where this user cannot make them."""
    needed = {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve(), Path(__file__).resolve()}
    reason = "Python's own files lie below /tmp"
    if not any(path.is_relative_to("/tmp") for path in needed):  # noqa: S108 - which the function's own /tmp would hide
        for command in (_NAMESPACES, (*_NAMESPACES, *_AS_USER)):
            if shutil.which("unshare") and _works(command):
                return command
        reason = "namespaces cannot be made (that needs root, or user namespaces)"
    logger.warning("%s: functions share /tmp, and can write to their code", reason)
    return ()


def _works(command: tuple[str, ...]) -> bool:
    test = [*command, "sh", "-c", "mount --bind / /tmp"]
    return subprocess.run(test, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return 0
