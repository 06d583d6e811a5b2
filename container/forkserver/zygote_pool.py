"""The fork server's zygotes: one for each framework, restarted when they die."""

import importlib.util
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from polyhost.container.config import Config
from polyhost.container.control_protocol import Exited, ForkFailed, ForkRequest, MessageError, Ready, Started
from polyhost.container.errors import INSUFFICIENT_STORAGE
from polyhost.container.forkserver.zygote import Zygote
from polyhost.container.system.event_loop import Loop
from polyhost.handlers.frameworks import BARE

_RESTART_S = 0.5
_BAD_REQUEST = 400  # a name or a path that is too long
_EARLY_ENDS = 2  # a library that crashes on import would crash for ever, and no load would be answered

logger = logging.getLogger("polyhost.forkserver")


@dataclass(frozen=True)
class Events:
    """What becomes of fork requests, each named by its sequence number."""

    started: Callable[[int, int], None]  # sequence, pid
    exited: Callable[[int, int], None]  # sequence, wait status
    failed: Callable[[int, str, int], None]  # sequence, reason, HTTP status


class ZygotePool:
    def __init__(
        self,
        loop: Loop,
        config: Config,
        preload: Mapping[str, tuple[str, ...]],
        run_dir: Path,
        log_descriptor: int,
        events: Events,
    ) -> None:
        self._loop = loop
        self._events = events
        self._zygotes: dict[str, Zygote] = {}
        self._steps = {name: (*preload.get(name, ()), *config.preload) for name in _wanted(config, preload)}
        self._make = partial(Zygote, config=config, run_dir=run_dir, log_descriptor=log_descriptor)

    def start(self) -> None:
        for name, steps in self._steps.items():
            if name not in self._zygotes:
                try:
                    self._zygotes[name] = self._make(name, steps)
                except OSError as error:  # the next load tries again
                    logger.error("zygote %s cannot be started now: %s", name, error)
                else:
                    self._watch(self._zygotes[name])

    def fork(self, framework: str, request: ForkRequest, descriptors: tuple[int, ...]) -> None:
        """Takes the descriptors over. A zygote that still imports forks when it is ready."""
        self.start()
        zygote = self._zygotes.get(framework) or self._zygotes.get(BARE)
        try:
            if zygote is None:
                raise OSError("no zygote can be started now")
            zygote.fork(request, descriptors)
        except (OSError, MessageError) as error:
            for descriptor in descriptors:
                os.close(descriptor)
            status = INSUFFICIENT_STORAGE if isinstance(error, OSError) else _BAD_REQUEST
            self._loop.after(0.0, partial(self._events.failed, request.sequence, str(error), status))

    def pids(self) -> dict[str, int]:
        return {name: zygote.process.pid for name, zygote in self._zygotes.items()}

    def stop(self) -> None:
        for zygote in self._zygotes.values():
            zygote.close()
            zygote.process.kill()
            zygote.process.wait()

    def _watch(self, zygote: Zygote) -> None:
        self._loop.watch(zygote.channel, lambda: self._on_message(zygote))
        self._loop.watch(zygote.output, lambda: self._on_output(zygote))

    def _on_output(self, zygote: Zygote) -> None:
        lines = zygote.output.read()
        if lines is None:
            self._loop.unwatch(zygote.output)
        for line in lines or ():
            logger.debug("zygote %s: %s", zygote.name, line)

    def _on_message(self, zygote: Zygote) -> None:
        received = zygote.channel.receive()
        message = received[0] if received else None
        match message:
            case None:
                self._on_death(zygote)
            case Ready():
                zygote.early_ends = 0
                _report(zygote.name, message)
            case Started():
                self._events.started(message.sequence, message.pid)  # the descriptors are still open
                zygote.begun(message.sequence)
            case Exited():
                zygote.begun(message.sequence)
                self._events.exited(message.sequence, message.status)
            case ForkFailed():
                zygote.begun(message.sequence)
                self._events.failed(message.sequence, message.reason, INSUFFICIENT_STORAGE)

    def _on_death(self, zygote: Zygote) -> None:
        self._loop.unwatch(zygote.channel)
        self._loop.unwatch(zygote.output)
        zygote.hang_up()
        status = zygote.process.wait()
        logger.error("zygote %s ended (%s); another is started, loaded models serve on", zygote.name, status)
        zygote.early_ends += 1
        if zygote.early_ends == _EARLY_ENDS:
            logger.error("zygote %s does not survive its imports: from now on its models do them", zygote.name)
            zygote.steps = ()
        self._loop.after(_RESTART_S, lambda: self._restart(zygote))

    def _restart(self, zygote: Zygote) -> None:
        try:
            zygote.start()
        except OSError as error:
            logger.error("zygote %s cannot be started now: %s", zygote.name, error)
            zygote.hang_up()
            self._loop.after(_RESTART_S, lambda: self._restart(zygote))
        else:
            self._watch(zygote)


def _wanted(config: Config, preload: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The frameworks that the settings name, else those that are installed; and always the bare one."""
    if config.zygotes is not None:
        names = [name for name in preload if name in config.zygotes]
    else:
        names = [name for name in preload if importlib.util.find_spec(name) is not None]
    return [*(name for name in names if name != BARE), BARE]


def _report(name: str, ready: Ready) -> None:
    logger.info("zygote %s is ready", name, extra={"duration_ms": round(ready.seconds * 1000)})
    for module, reason in ready.failures.items():
        logger.error(
            "%s failed in the zygote (%s): models that need it fail or load slowly, others do not", module, reason
        )
