"""A function's container in the local Docker engine."""

import asyncio
import contextlib
from typing import Self

from polyhost.emulator.errors import ContainerError
from polyhost.emulator.functions.runtime_process import how_ended
from polyhost.emulator.hosting.drivers.docker_command import docker, remove_container
from polyhost.emulator.hosting.drivers.engine import Engine

_POLL_S = 0.05
_RELAY_S = 0.05  # what is printed comes by way of the engine and its command
_END_S = 5.0
# How engines call a container that has not run yet.
_NOT_STARTED = ("created", "configured", "initialized")


class ImageContainer:
    """Runs until it ends by itself, or until `stop`, which removes it."""

    def __init__(self, name: str, command: asyncio.subprocess.Process, engine: Engine) -> None:
        self._name = name
        self._command = command
        self._engine = engine
        self._pid: int | None = None
        self._end = asyncio.create_task(command.wait())

    @classmethod
    async def start(cls, name: str, engine: Engine, output: int) -> Self:
        """Start a container that was created; what it prints goes to the descriptor `output`. Raises ContainerError."""
        # The command copies the output. It ends with the emulator; the runtime then finds its interface gone.
        command = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "KILL", "--", "docker", "start", "--attach", name),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        container = cls(name, command, engine)
        try:
            await container._until_started()
        except BaseException:
            await asyncio.shield(container.stop())
            raise
        return container

    async def wait(self) -> str:
        """Return how the runtime ended, in Lambda's words, once it has."""
        return how_ended(await asyncio.shield(self._end))

    async def memory_bytes(self) -> int:
        """Return what its processes occupy now, or 0 if the engine does not say."""
        usage = await self._engine.usage(self._name, self._pid)
        return usage.memory_bytes if usage is not None else 0

    async def flush(self) -> None:
        """Wait for what it has printed before: the engine does not tell when it has passed on all of it."""
        await asyncio.wait({self._end}, timeout=_RELAY_S)

    async def stop(self) -> None:
        """Remove the container."""
        await remove_container(self._name)
        await asyncio.wait({self._end}, timeout=_END_S)
        if not self._end.done():
            with contextlib.suppress(ProcessLookupError):
                self._command.kill()
            await self._end

    async def _until_started(self) -> None:
        while True:
            ended = self._end.done()
            status, state, _ = await docker("inspect", "--format={{.State.Status}} {{.State.Pid}}", self._name)
            name, _, pid = state.strip().partition(" ")
            if status == 0 and name not in _NOT_STARTED:
                self._pid = int(pid or 0) or None
                return
            if ended:
                raise ContainerError(await self._why_not())
            await asyncio.wait({self._end}, timeout=_POLL_S)

    async def _why_not(self) -> str:
        """Return the engine's words, which the first attempt has mixed with the function's output."""
        _, _, error = await docker("start", self._name)
        return error.strip()[-1000:] or "the container does not start"
