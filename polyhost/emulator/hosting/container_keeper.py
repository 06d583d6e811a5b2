"""An instance's container, kept alive: started, watched, and replaced when it ends or stops answering."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import aiohttp

from polyhost.emulator.errors import ContainerError, EmulatorError
from polyhost.emulator.hosting.container_client import ContainerClient
from polyhost.emulator.hosting.interfaces import Container, Driver, Launch, ResourceUsage
from polyhost.emulator.telemetry.recorder import EventKind
from polyhost.model_cache.errors import ContainerGoneError

PING_EVERY_S = 5.0  # as container logs of real endpoints show
_PINGS_MISSED = 3
_STOP_GRACE_S = 7.0  # SageMaker gives 30 s; the emulator promises to end within 10, and closes its dashboard in 2
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 30.0
_STEADY_S = 60.0  # a container that lived for so long is replaced without a pause
_KEPT_LINES = 40


class KeeperListener(Protocol):
    """Hears about the life of the container."""

    def on_started(self, container: Container, client: ContainerClient) -> None:
        """Note a container that answers /ping, the first or a replacement."""

    def on_lost(self) -> None:
        """Note that the container has ended, or is about to be killed."""

    def on_replaced(self) -> None:
        """Note that another container is in service in place of a lost one."""


class ContainerKeeper:
    """Starts one container after another, by `launch` with a number behind its name; at most one runs at a time."""

    def __init__(
        self,
        driver: Driver,
        http: aiohttp.ClientSession,
        launch: Launch,
        startup_timeout_s: float,
        listener: KeeperListener,
        report: Callable[[EventKind, str], None],
    ) -> None:
        self.container: Container | None = None
        self.restarts = 0
        self.doubted = False  # an invocation failed as if the container had ended, and no ping was answered since
        self._driver = driver
        self._http = http
        self._launch = replace(launch, on_line=self._on_line)
        self._on_output = launch.on_line
        self._startup_timeout_s = startup_timeout_s
        self._listener = listener
        self._report = report
        self._client: ContainerClient | None = None
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._task: asyncio.Task[None] | None = None
        self._launches = 0

    @property
    def client(self) -> ContainerClient:
        """The client of the running container. Raises ContainerGoneError if there is none."""
        if self._client is None:
            raise ContainerGoneError("the container is not running", may_retry=True)
        return self._client

    async def start(self) -> None:
        """Start the first container. Raises ContainerError, and then leaves nothing behind."""
        try:
            await self._start_one()
        except BaseException:
            await self._end()
            raise

    def watch(self) -> None:
        """Replace the container from now on whenever that is necessary."""
        self._task = asyncio.create_task(self._keep())

    async def unwatch(self) -> None:
        """Leave the container alone from now on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def stop(self) -> None:
        """Stop the container; can be called again after it was cancelled."""
        await self.unwatch()
        await self._end()

    async def until_ended(self) -> int:
        """Return the exit status of the running container once it has ended."""
        assert self.container is not None
        return await self.container.wait()

    async def doubt(self) -> None:
        """Ask for no more invocations until the container has answered a ping, or has been replaced.

        A container that was killed accepts connections until its last socket is closed.
        """
        self.doubted = True
        if self._client is not None:
            await self._ping(self._client)

    async def kill(self) -> None:
        """Kill the container, as a crash would."""
        if self.container is not None:
            await self.container.kill()

    async def usage(self) -> ResourceUsage | None:
        return await self.container.usage() if self.container is not None else None

    async def _start_one(self) -> None:
        self._launches += 1
        self._lines.clear()
        self.container = await self._driver.start(replace(self._launch, name=f"{self._launch.name}-{self._launches}"))
        self._client = ContainerClient(self._http, self.container.url)
        await self._until_healthy(self.container, self._client)
        self.doubted = False
        self._listener.on_started(self.container, self._client)

    async def _until_healthy(self, container: Container, client: ContainerClient) -> None:
        end = asyncio.create_task(container.wait())
        deadline = time.monotonic() + self._startup_timeout_s
        try:
            while True:
                healthy = await client.ping()
                done, _ = await asyncio.wait({end}, timeout=0 if healthy else 0.05)
                if done:  # what answered the ping is another process, which took the port
                    raise ContainerError(f"the container ended with status {end.result()}: {self._last_output()}")
                if healthy:
                    return
                if time.monotonic() > deadline:
                    limit = self._startup_timeout_s
                    raise ContainerError(f"no 200 from /ping within {limit:.0f} s: {self._last_output()}")
        finally:
            end.cancel()

    async def _keep(self) -> None:
        pause = 0.0
        while True:
            started = time.monotonic()
            try:
                reason = await self._until_lost()
            except Exception as error:  # whatever goes wrong here, the instance must not be left without its keeper
                reason = f"the container could not be watched: {error!r}"
            if time.monotonic() - started > _STEADY_S:
                pause = 0.0
            last = "\n".join(list(self._lines)[-3:])
            self._listener.on_lost()
            self._report(EventKind.RESTARTED, f"{reason}; starting a new one{last and f'. Its last output: {last}'}")
            lost = time.monotonic()
            pause = await self._replace(pause)
            self.restarts += 1
            self._listener.on_replaced()
            self._report(EventKind.INSTANCE, f"in service again after {time.monotonic() - lost:.1f} s")

    async def _replace(self, pause: float) -> float:
        """End what is left of the container and start another, until that works; return the next pause in seconds."""
        while True:
            ended = await self._has_ended()
            await asyncio.sleep(pause)
            pause = min(max(_FIRST_PAUSE_S, pause * 2), _LONGEST_PAUSE_S)
            try:
                if ended:
                    await self._start_one()
                    return pause
            except Exception as error:
                text = str(error) if isinstance(error, EmulatorError | OSError) else repr(error)
                self._report(EventKind.FAILED, f"{text}; again in {pause:.1f} s")

    async def _until_lost(self) -> str:
        """Return why the container has to be replaced, once it has to be."""
        assert self.container is not None and self._client is not None
        end = asyncio.create_task(self.container.wait())
        missed = 0
        try:
            while missed < _PINGS_MISSED:
                done, _ = await asyncio.wait({end}, timeout=PING_EVERY_S)
                if done:
                    return f"the container ended with status {end.result()}"
                missed = 0 if await self._ping(self._client) else missed + 1
            await self.container.kill()  # a process that does not answer would ignore SIGTERM too
            return f"the container missed {missed} pings"
        finally:
            end.cancel()

    async def _ping(self, client: ContainerClient) -> bool:
        alive = await client.ping()
        if alive and client is self._client:
            self.doubted = False
        return alive

    async def _has_ended(self) -> bool:
        try:
            await self._end()
        except Exception as error:
            self._report(EventKind.FAILED, f"the container does not end: {error!r}")
            return False
        return True

    async def _end(self) -> None:
        self._client = None
        if self.container is not None:
            await self.container.stop(_STOP_GRACE_S)
            self.container = None

    def _on_line(self, line: str) -> None:
        self._lines.append(line)
        self._on_output(line)

    def _last_output(self) -> str:
        return "\n".join(self._lines)[-700:]  # FailureReason has room for 1024 characters
