"""Containers as processes of this machine: `polyhost serve`, or another command with the same interface."""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from polyhost.aws_environ import container_environ
from polyhost.emulator.errors import ContainerError
from polyhost.emulator.hosting.control_group import OwnControlGroup
from polyhost.emulator.hosting.drivers.memory_groups import MemoryGroup, MemoryGroups
from polyhost.emulator.hosting.drivers.output import each_line
from polyhost.emulator.hosting.interfaces import Container, Launch, ResourceUsage
from polyhost.private_folder import private_parent
from polyhost.processes import free_port, free_port_range, processes_with, proportional_bytes

_MARK = "POLYHOST_INSTANCE"
_RUN_DIR = "ph-"
# Variables of the emulator's environment that a process needs. A container does not see the others either.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "JAVA_HOME", "TMPDIR", "VIRTUAL_ENV")
# Joins the control group, then becomes the container.
_JOIN = 'echo $$ >"$1" && shift && exec "$@"'
_OWN_COMMAND = (str(Path(sys.executable).with_name("polyhost")),)
_SAFE_PORTS = 10


class ProcessDriver:
    """Starts a command with the argument `serve`, which an image's entry point gets too; by default ours.

    `image_commands` are the commands for images that match a pattern of shell style; the first that does is used.
    Containers may use the AWS at `aws_url`, as on SageMaker those of AWS with their endpoint's role.
    """

    limits_together = True  # as far as it limits memory at all

    def __init__(
        self,
        command: tuple[str, ...] | None = None,
        image_commands: Mapping[str, tuple[str, ...]] | None = None,
        aws_url: str | None = None,
    ) -> None:
        self._command = command
        self._aws_url = aws_url
        self._image_commands = image_commands or {}
        self._groups = MemoryGroups()

    async def check(self, image: str, multi_model: bool, among_others: bool = False) -> str:
        """Return the name given: an image is a command here, and most are this installation."""
        return image

    async def start(self, launch: Launch) -> Container:
        group = self._groups.join(launch)
        # Not in the instance's folder: a socket's path has at most 108 bytes.
        run_dir = private_parent() / f"{_RUN_DIR}{secrets.token_hex(4)}"
        (launch.folder / run_dir.name).touch()  # for `sweep`, and first: the emulator may be killed in between
        run_dir.mkdir(0o700)
        port = free_port()
        # Not asyncio's own pipe: Process.wait() would return only when the last descendant has closed it.
        output, writer = os.pipe2(os.O_CLOEXEC)
        try:
            process = await asyncio.create_subprocess_exec(
                *self._arguments(port, launch, group),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writer,
                stderr=asyncio.subprocess.STDOUT,
                env=self._environment(port, launch, run_dir),
                cwd=launch.folder,
                start_new_session=True,  # Ctrl-C reaches only the emulator, which then stops its containers in order
            )
        except BaseException as error:
            os.close(output)
            await asyncio.to_thread(_clear, group, run_dir)
            if isinstance(error, OSError):
                raise ContainerError(f"{self._command_for(launch.image)[0]} does not start: {error}") from error
            raise
        finally:
            os.close(writer)
        return ContainerProcess(process, output, port, launch, group, run_dir)

    async def sweep(self, folder: Path) -> None:
        """Remove control groups and run directories; the processes ended with their emulator."""
        for instance in folder.glob("i-*"):
            for noted in (*instance.glob(f"{_RUN_DIR}*"), *instance.glob(f"containers/*/{_RUN_DIR}*")):
                await asyncio.to_thread(shutil.rmtree, private_parent() / noted.name, True)
            for group in OwnControlGroup.named(f"*-{instance.name}-*"):
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(group.remove)

    async def close(self) -> None:
        """Do nothing: the driver has nothing open."""

    def _command_for(self, image: str) -> tuple[str, ...]:
        matching = (command for pattern, command in self._image_commands.items() if fnmatchcase(image, pattern))
        return next(matching, None) or self._command or _OWN_COMMAND

    def _arguments(self, port: int, launch: Launch, group: MemoryGroup | None) -> list[str]:
        command = self._command_for(launch.image)
        arguments = [*command, "serve"]
        if command == _OWN_COMMAND:
            arguments += ["--port", str(port), "--base-dir", str(launch.folder), "--log-format", "json"]
            arguments += [] if launch.multi_model else ["--single-model"]
        if setpriv := shutil.which("setpriv"):
            # The kernel then stops the container when the emulator is killed (prctl(2), PR_SET_PDEATHSIG).
            arguments = [setpriv, "--pdeathsig", "TERM", "--", *arguments]
        return ["/bin/sh", "-c", _JOIN, "sh", str(group.members), *arguments] if group else arguments

    def _environment(self, port: int, launch: Launch, run_dir: Path) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        documented = {
            "SAGEMAKER_BIND_TO_PORT": str(port),
            "SAGEMAKER_BASE_DIR": str(launch.folder),
            "POLYHOST_RUN_DIR": str(run_dir),
            "POLYHOST_STATE_DIR": str(launch.folder / "state"),
            _MARK: launch.name,
        }
        mode = {"SAGEMAKER_MULTI_MODEL": "true"} if launch.multi_model else {}
        among_others = {"SAGEMAKER_SAFE_PORT_RANGE": free_port_range(_SAFE_PORTS)} if launch.shared_with else {}
        aws = container_environ(self._aws_url, launch.region) if self._aws_url else {}
        return inherited | aws | dict(launch.environment) | documented | mode | among_others


class ContainerProcess:
    """A container that is a process with descendants."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        output: int,
        port: int,
        launch: Launch,
        group: MemoryGroup | None,
        run_dir: Path,
    ) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.models_folder = str(launch.folder / "models")
        self.pid: int | None = process.pid
        self._process = process
        self._name = launch.name
        self._group = group
        self._run_dir = run_dir
        self._output = asyncio.create_task(_read_lines(output, launch.on_line))

    async def wait(self) -> int:
        return await self._process.wait()

    async def stop(self, grace_s: float) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), grace_s)
        self._kill()
        await self._process.wait()
        await asyncio.to_thread(self._sweep)
        # The output ends with the last process; what was printed before is still read.
        await asyncio.wait({self._output}, timeout=1)
        self._output.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._output

    async def kill(self) -> None:
        self._kill()

    def _kill(self) -> None:
        if self._process.returncode is None:  # it may not be in its control group yet
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        for pid in self._members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def usage(self) -> ResourceUsage | None:
        return await asyncio.to_thread(self._usage)

    def _usage(self) -> ResourceUsage:
        members = self._members()
        alone = self._group is not None and not self._group.shared
        memory = self._group.used() if self._group and alone else sum(map(proportional_bytes, members))
        return ResourceUsage(memory, sum(map(_cpu_s, members)))

    def _sweep(self) -> None:
        self._kill()
        _clear(self._group, self._run_dir)
        self._group = None  # it is left once, and a stop may be repeated

    def _members(self) -> list[int]:
        """Return the processes of the container's own control group, or else those that have the container's mark."""
        if self._group and not self._group.shared:
            return self._group.processes()
        return processes_with(_MARK, self._name, self._process.pid)


def _clear(group: MemoryGroup | None, run_dir: Path) -> None:
    if group:
        group.leave()
    shutil.rmtree(run_dir, ignore_errors=True)


async def _read_lines(descriptor: int, on_line: Callable[[str], None]) -> None:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(descriptor, "rb"))
    try:
        await each_line(reader, on_line)
    finally:
        transport.close()


def _cpu_s(pid: int) -> float:
    """Return the CPU time of the process and of its children that have ended (proc_pid_stat(5), fields 14 to 17)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
