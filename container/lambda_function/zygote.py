"""The zygote of a function: a fork of the runtime's process, made before that has threads."""

import asyncio
import os
from pathlib import Path
from typing import Any, NoReturn

from polyhost.container import log
from polyhost.container.config import Config
from polyhost.container.control_protocol import (
    Channel,
    Exited,
    ForkDescriptors,
    ForkFailed,
    ForkRequest,
    Message,
    Ready,
    Started,
)
from polyhost.container.forkserver.zygote.process import run_zygote
from polyhost.events import get_logger
from polyhost.handlers import frameworks
from polyhost.handlers.frameworks import ZygoteSteps

_NAME = "function"
# A function has ten seconds to initialize, and the imports of the other frameworks take more: their models import them.
_DEFAULTS = ("mxnet", "torch", "sklearn")

logger = get_logger(__name__)


class ZygoteLostError(Exception):
    """The zygote has ended, and with it the way to new processes of models: the environment is of no more use."""


class FunctionZygote:
    """The runtime's side: asks for forks, and hears what becomes of them. Call `watch` in the event loop."""

    def __init__(self, channel: Channel, pid: int) -> None:
        self.pid = pid
        self._channel = channel
        self._ready: asyncio.Future[None]
        self._starting: dict[int, asyncio.Future[int]] = {}
        self._running: dict[int, asyncio.Future[int]] = {}

    @classmethod
    def start(cls, config: Config, run_dir: Path) -> "FunctionZygote":
        """Fork it; it imports the frameworks while this process goes on. Raises OSError."""
        ours, theirs = Channel.pair()
        steps = _steps(config)
        pid = os.fork()
        if pid == 0:
            ours.close()
            _be_zygote(steps, theirs, config, run_dir)
        theirs.close()
        return cls(ours, pid)

    def watch(self) -> None:
        """Begin to read what it sends."""
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        self._channel.socket.setblocking(False)
        loop.add_reader(self._channel, self._on_readable)

    async def until_ready(self) -> None:
        """Return when the frameworks are imported. Raises ZygoteLostError."""
        await asyncio.shield(self._ready)

    async def fork(self, request: ForkRequest, descriptors: ForkDescriptors) -> tuple[int, "asyncio.Future[int]"]:
        """Return a worker's pid, and its wait status to come. Raises OSError and ZygoteLostError."""
        await self.until_ready()
        loop = asyncio.get_running_loop()
        started = self._starting[request.sequence] = loop.create_future()
        exited = self._running[request.sequence] = loop.create_future()
        try:
            self._channel.send(request, tuple(descriptors))
            return await started, exited
        except OSError:
            self._running.pop(request.sequence, None)
            raise
        finally:
            self._starting.pop(request.sequence, None)

    def _on_readable(self) -> None:
        try:
            received = self._channel.receive()
        except BlockingIOError:
            return
        if received is None:
            self._on_lost()
        else:
            self._on_message(received[0])

    def _on_message(self, message: Message) -> None:
        match message:
            case Ready():
                for step, reason in message.failures.items():
                    logger.warning("%s is not there for models: %s", step, reason)
                self._ready.set_result(None)
            case Started():
                _set(self._starting.get(message.sequence), message.pid)
            case ForkFailed():
                if (started := self._starting.get(message.sequence)) is not None and not started.done():
                    started.set_exception(OSError(message.reason))
            case Exited():
                _set(self._running.pop(message.sequence, None), message.status)

    def _on_lost(self) -> None:
        asyncio.get_running_loop().remove_reader(self._channel)
        _, status = os.waitpid(self.pid, 0)
        error = ZygoteLostError(f"the process that forks models' processes has ended, with wait status {status}")
        waiting: list[asyncio.Future[Any]] = [self._ready, *self._starting.values(), *self._running.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()  # counts as retrieved: asyncio logs an error that no task awaits


def _set(future: "asyncio.Future[int] | None", value: int) -> None:
    if future is not None and not future.done():
        future.set_result(value)


def _steps(config: Config) -> ZygoteSteps:
    """Return what to do for the frameworks in POLYHOST_ZYGOTES, or for the defaults that are installed."""
    known = frameworks.zygote_steps()
    names = config.zygotes
    if names is None:
        names = tuple(name for name in _DEFAULTS if name in known and frameworks.installed(name))
    chosen = [known[name] for name in (*names, frameworks.BARE)]
    imports = dict.fromkeys(step for steps in chosen for step in (*steps.imports, *steps.warm_ups))
    return ZygoteSteps((*imports, *config.preload))


def _be_zygote(steps: ZygoteSteps, channel: Channel, config: Config, run_dir: Path) -> NoReturn:
    """Be the zygote until the runtime's process ends."""
    status = 1
    try:
        os.environ.update({name: value for name, value in frameworks.environment().items() if name not in os.environ})
        log.configure_for(config, log.LogDescriptors(os.dup(1)))
        status = run_zygote(_NAME, steps, channel, config, run_dir)
    except BaseException:
        logger.exception("the process that forks models' processes has failed")
    finally:
        os._exit(status)
