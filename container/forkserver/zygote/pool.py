"""The fork server's zygotes: one for each framework that models need; restarted when they die."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from polyhost.container.config import Config
from polyhost.container.control_protocol import (
    Exited,
    ForkDescriptors,
    ForkFailed,
    ForkRequest,
    Message,
    MessageError,
    Ready,
    Started,
)
from polyhost.container.errors import INSUFFICIENT_STORAGE
from polyhost.container.forkserver.zygote.handle import ZygoteHandle
from polyhost.container.forkserver.zygote.restarts import RestartDelays
from polyhost.container.log import LogDescriptors
from polyhost.container.system.event_loop import EventLoop
from polyhost.events import get_logger
from polyhost.handlers import frameworks
from polyhost.handlers.frameworks import BARE, ZygoteSteps

_FALLBACK = "fallback"
_BAD_REQUEST = 400  # a name or a path is too long for a message
_HUNG = 500

_DELAYS = RestartDelays()

logger = get_logger(__name__)


@dataclass(frozen=True)
class ForkEvents:
    """Callbacks for what becomes of fork requests."""

    on_started: Callable[[Started, int | None], None]  # and its smaps; the request's descriptors are still open
    on_exited: Callable[[int, int], None]  # sequence, wait status
    on_failed: Callable[[int, str, int], None]  # sequence, reason, HTTP status


class ZygotePool:
    """Sends each fork request to the zygote of its framework."""

    def __init__(
        self,
        loop: EventLoop,
        config: Config,
        steps: Mapping[str, ZygoteSteps],
        run_dir: Path,
        log_descriptors: LogDescriptors,
        events: ForkEvents,
        delays: RestartDelays = _DELAYS,
    ) -> None:
        """Start nothing yet. `steps`: what each zygote does; what POLYHOST_PRELOAD names comes after the imports."""
        self._loop = loop
        self._events = events
        self._retry_s = delays.restart_s
        self._unanswered: set[int] = set()  # requests that a zygote was killed for
        self._zygotes: dict[str, ZygoteHandle] = {}
        # Imports nothing, so that nothing can crash; for the models of zygotes that are given up for a while.
        self._fallback: ZygoteHandle | None = None
        self._steps = {
            name: replace(steps[name], imports=(*steps[name].imports, *config.preload))
            for name in _choose_frameworks(config, steps)
        }
        # Those to start with the container; the others start with the first model that needs them.
        self._expected: set[str] = set(self._steps if config.zygotes is not None else ())
        self._make = partial(
            ZygoteHandle, config=config, run_dir=run_dir, log_descriptors=log_descriptors, delays=delays
        )

    def expect(self, names: Iterable[str]) -> None:
        """Have `start` start these as well, as far as the settings allow: models will need them."""
        self._expected.update(map(self._name_for, names))

    def start(self) -> None:
        """Start the zygotes that are expected to be needed, and have not been started."""
        for name in self._steps:
            if name in self._expected:
                self._start(name)

    def _name_for(self, framework: str) -> str:
        return framework if framework in self._steps else BARE

    def fork(self, framework: str, request: ForkRequest, descriptors: ForkDescriptors) -> None:
        """Fork a worker, as soon as the zygote has done its imports; takes the descriptors over."""
        self._start(self._name_for(framework))  # first: it is waited for
        self.start()
        try:
            self._choose(framework).fork(request, descriptors)
        except (OSError, MessageError) as error:
            for descriptor in descriptors:
                os.close(descriptor)
            status = INSUFFICIENT_STORAGE if isinstance(error, OSError) else _BAD_REQUEST
            self._loop.after(0.0, partial(self._events.on_failed, request.sequence, str(error), status))

    def bytes_to_come(self, framework: str) -> int:
        """Return the bytes that zygotes are yet to take: those that do their imports, and this framework's own."""
        waiting = {name for name, zygote in self._zygotes.items() if not zygote.restarts.ready}
        new = {self._name_for(framework)} - self._zygotes.keys()
        taken = sum(self._zygotes[name].bytes_to_come() for name in waiting)
        return taken + sum(frameworks.named(name).zygote_bytes for name in new)

    def free_memory(self, framework: str) -> bool:
        """Stop one zygote that nothing uses, for a model of this framework; return whether there was one.

        It starts again with the next model that needs it.
        """
        needed = self._name_for(framework)
        unused = [zygote for name, zygote in self._zygotes.items() if zygote.is_unused and name != needed]
        if not unused:
            return False
        zygote = max(unused, key=lambda candidate: frameworks.named(candidate.name).zygote_bytes)
        logger.info("stopping zygote %s: a model needs its memory, and none uses it", zygote.name)
        self._loop.unwatch(zygote.channel)
        self._loop.unwatch(zygote.output)
        zygote.free_memory()
        del self._zygotes[zygote.name]
        self._expected.discard(zygote.name)
        return True

    def _start(self, name: str) -> None:
        if name in self._zygotes:
            return
        try:
            self._zygotes[name] = self._make(name, self._steps[name])
        except OSError as error:  # the next load tries again
            logger.error("cannot start zygote %s now: %s", name, error)
        else:
            self._watch(self._zygotes[name])

    def _choose(self, framework: str) -> ZygoteHandle:
        """Return the zygote that is to fork for the framework now. Raises OSError."""
        zygote = self._zygotes.get(framework) or self._zygotes.get(BARE)
        if zygote is None:
            raise OSError("no zygote can be started now")
        if not zygote.restarts.given_up:
            return zygote
        if self._fallback is None:
            self._fallback = self._make(_FALLBACK, ZygoteSteps())
            self._watch(self._fallback)
        return self._fallback

    def check(self) -> None:
        """Kill the zygotes that do not answer; to be called every half a second.

        Their requests go to the next one. A request that two have not answered is failed: it waits no longer.
        """
        for zygote in self._all():
            if zygote.process.returncode is None and (overdue := zygote.overdue()):
                self._kill_silent(zygote, overdue)

    def _kill_silent(self, zygote: ZygoteHandle, overdue: list[int]) -> None:
        logger.error("zygote %s does not answer: killing it", zygote.name, extra={"pid": zygote.process.pid})
        zygote.kill()
        while zygote.has_message() and (received := zygote.channel.receive()):
            self._handle(zygote, *received)
        for sequence in overdue:
            if sequence in self._unanswered:
                zygote.complete(sequence)
                self._unanswered.discard(sequence)
                self._events.on_failed(sequence, f"the zygote {zygote.name} did not answer, twice", _HUNG)
            elif sequence in zygote.in_flight:
                self._unanswered.add(sequence)
        self._on_death(zygote)

    def _all(self) -> list[ZygoteHandle]:
        return [*self._zygotes.values(), *([self._fallback] if self._fallback else [])]

    def pids(self) -> dict[str, int]:
        """Return the zygotes' pids by framework."""
        return {zygote.name: zygote.process.pid for zygote in self._all()}

    def kill(self) -> None:
        """Kill the zygotes; their workers are not concerned."""
        for zygote in self._all():
            zygote.close()
            zygote.process.kill()
            zygote.process.wait()

    def _watch(self, zygote: ZygoteHandle) -> None:
        self._loop.watch(zygote.channel, lambda: self._on_message(zygote))
        self._loop.watch(zygote.output, lambda: self._on_output(zygote))

    def _on_output(self, zygote: ZygoteHandle) -> None:
        lines = zygote.read_output()
        if lines is None:
            self._loop.unwatch(zygote.output)
        for line in lines or ():
            logger.debug("zygote %s: %s", zygote.name, line)

    def _on_message(self, zygote: ZygoteHandle) -> None:
        received = zygote.channel.receive()
        if received is None:
            self._on_death(zygote)
            return
        self._handle(zygote, *received)
        zygote.send_waiting()

    def _handle(self, zygote: ZygoteHandle, message: Message, descriptors: list[int]) -> None:
        match message:
            case Ready():
                zygote.on_ready()
                _log_ready(zygote.name, message)
            case Started():
                # First the event: its listener passes one of the descriptors on, which `complete` closes.
                self._events.on_started(message, descriptors[0] if descriptors else None)
                zygote.workers.add(message.sequence)
                zygote.complete(message.sequence)
                self._unanswered.discard(message.sequence)
            case Exited():
                zygote.workers.discard(message.sequence)
                zygote.complete(message.sequence)
                self._events.on_exited(message.sequence, message.status)
            case ForkFailed():
                zygote.complete(message.sequence)
                self._unanswered.discard(message.sequence)
                self._events.on_failed(message.sequence, message.reason, INSUFFICIENT_STORAGE)

    def _on_death(self, zygote: ZygoteHandle) -> None:
        self._loop.unwatch(zygote.channel)
        self._loop.unwatch(zygote.output)
        status, shortage = zygote.wait()
        zygote.disconnect()
        restarts = zygote.restarts
        delay_s = restarts.after_death(shortage)
        if restarts.given_up:
            cause = "for lack of processes or memory" if shortage else f"during preload, {restarts.crashes} times now"
            message = "zygote %s ended with status %s %s; models import on load until it is tried again in %g s"
            logger.error(message, zygote.name, status, cause, delay_s)
            for request, descriptors in zygote.take_in_flight():
                self.fork(zygote.name, request, descriptors)
        else:
            message = "zygote %s ended with status %s; restarting it, loaded models are not affected"
            logger.error(message, zygote.name, status)
        self._loop.after(delay_s, lambda: self._restart(zygote))

    def _restart(self, zygote: ZygoteHandle) -> None:
        try:
            zygote.restart()
        except OSError as error:
            logger.error("cannot start zygote %s now: %s", zygote.name, error)
            self._loop.after(self._retry_s, lambda: self._restart(zygote))
        else:
            self._watch(zygote)


def _choose_frameworks(config: Config, known: Iterable[str]) -> list[str]:
    """Return the frameworks that the settings name, else those that are installed; and always the bare one."""
    if config.zygotes is not None:
        names = [name for name in known if name in config.zygotes]
    else:
        names = [name for name in known if name != BARE and frameworks.installed(name)]
    return [*(name for name in names if name != BARE), BARE]


def _log_ready(name: str, ready: Ready) -> None:
    logger.info("zygote %s is ready", name, extra={"duration_ms": round(ready.seconds * 1000)})
    for step, reason in ready.failures.items():
        logger.error(
            "preload of %s failed (%s): models that need it fail or load slowly, others are not affected", step, reason
        )
