"""A zygote's own process: imports one framework, then only forks."""

import gc
import importlib
import os
import select
import selectors
import signal
import socket
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from polyhost.container.config import Config
from polyhost.container.control_protocol import (
    Channel,
    Exited,
    ForkFailed,
    ForkRequest,
    Message,
    MessageError,
    Ready,
    Started,
)
from polyhost.container.forkserver.zygote.restarts import EXIT_SHORTAGE, is_shortage
from polyhost.container.isolation.confinement import Confinement
from polyhost.container.isolation.shared_processes import protect
from polyhost.container.prefork.prefault import Prefault
from polyhost.container.prefork.prepare import LoadExercise, prepare_for_forks
from polyhost.container.worker import surroundings
from polyhost.container.worker.process import become_worker
from polyhost.events import get_logger
from polyhost.handlers.frameworks import ZygoteSteps

_MAX_REASON = 500  # characters per failed step: all of them go into one message
# A spare is forked in a quiet moment, when the load that used the last one is mostly over.
_SPARE_DELAY_S = 0.01
_SPARE_RETRY_S = 1.0  # after there was no process or memory for one

logger = get_logger(__name__)


class _ShortageError(Exception):
    """A step failed for lack of processes or memory, and may succeed another time."""


class _StepResults(NamedTuple):
    """The reasons of the failed steps, and the load exercises that functions have returned."""

    failures: dict[str, str]
    load_exercises: list[LoadExercise]


class Spare(NamedTuple):
    """A fork that waits for its request on a channel."""

    pid: int
    channel: Channel


def run_zygote(name: str, steps: ZygoteSteps, channel: Channel, config: Config, run_dir: Path) -> int:
    """Run the steps, then fork workers until the fork server closes the channel; return the exit status.

    A request that waits when the imports are done is served before the warm-ups: they take half as long again.
    """
    gc.disable()  # collections were a seventh of the imports' time
    start = time.monotonic()
    try:
        imported = _run_steps(steps.imports)
        surroundings.prepare()
        confinement = Confinement.of(config, run_dir)
        protect(config.isolation)
        gc.freeze()  # a collection, here or in a fork, would write to every page with objects, and so unshare it
        zygote = ZygoteProcess(name, channel, config, confinement)
        zygote.fork_first_waiting()
        warmed_up = _run_steps(steps.warm_ups)
    except _ShortageError as error:
        logger.warning("zygote %s: %s", name, error)
        return EXIT_SHORTAGE
    seconds = time.monotonic() - start
    if confinement is not None:
        confinement.warm_up()
    zygote.prefault = prepare_for_forks(config, [*imported.load_exercises, *warmed_up.load_exercises])
    sys.stdout.flush()  # or each fork would print again what the imports have printed
    if threads := _other_threads():
        message = (
            "zygote %s has other threads after its imports (%s): its forks may hang; let what starts them start none,"
            " or leave it out of POLYHOST_PRELOAD"
        )
        logger.warning(message, name, ", ".join(threads))
    zygote.send(Ready(round(seconds, 3), imported.failures | warmed_up.failures))
    return zygote.run()


class ZygoteProcess:
    """Waits for requests and for children. Single-threaded, for a fork copies the calling thread only."""

    def __init__(self, name: str, channel: Channel, config: Config, confinement: Confinement | None) -> None:
        self.prefault = Prefault()  # of each fork
        self._name = name
        self._channel = channel
        self._config = config
        self._confinement = confinement
        self._sequences: dict[int, int] = {}  # of the workers, by pid
        self._spare: Spare | None = None
        self._spare_delay_s = _SPARE_DELAY_S
        self._warmed_up = False
        self._wake_reader, self._wake_writer = socket.socketpair()  # written to by the interpreter on SIGCHLD

    def fork_first_waiting(self) -> None:
        """Serve the first request, if it is there already.

        Only that one: a worker from before the warm-ups shares fewer memory pages, and starts more slowly.
        """
        waiting = select.poll()
        waiting.register(self._channel, select.POLLIN)
        if waiting.poll(0):
            sys.stdout.flush()  # or the fork would print again what the imports have printed
            self._serve_request()

    def run(self) -> int:
        """Serve requests until the fork server closes the channel; return the exit status."""
        for end in (self._wake_reader, self._wake_writer):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda signum, frame: None)
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        self._warmed_up = True
        self._reap()  # a worker from before
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            selector.register(self._wake_reader, selectors.EVENT_READ)
            return self._loop(selector)

    def _loop(self, selector: selectors.BaseSelector) -> int:
        while True:
            events = selector.select(None if self._spare else self._spare_delay_s)
            if not events:
                self._keep_spare()
            for key, _ in events:
                if key.fileobj is self._wake_reader:
                    self._wake_reader.recv(4096)
                    self._reap()
                elif not self._serve_request():
                    return 0

    def _serve_request(self) -> bool:
        """Receive a request and fork its worker; return False at the fork server's end: the workers go on serving."""
        try:
            received = self._channel.receive()
        except MessageError:
            logger.exception("zygote %s: a fork request is lost", self._name)
            return True
        if received is None:
            return False
        request, descriptors = received
        assert isinstance(request, ForkRequest)
        self._fork(request, descriptors)
        return True

    def _keep_spare(self) -> None:
        """Fork a worker ahead of the next request, of which it saves a fifth if the model is small.

        Not at once after a request: the fork would compete with the load that has just used the last spare.
        """
        if self._spare is None:
            try:
                self._spare = self._fork_spare()
            except OSError as error:
                if self._spare_delay_s == _SPARE_DELAY_S:
                    logger.warning("zygote %s: no spare worker for now: %s", self._name, error)
                self._spare_delay_s = _SPARE_RETRY_S
            else:
                self._spare_delay_s = _SPARE_DELAY_S

    def _fork(self, request: ForkRequest, descriptors: list[int]) -> None:
        try:
            pid = self._assign(request, descriptors)
        except OSError as error:
            self.send(ForkFailed(request.sequence, str(error)))
        else:
            self._sequences[pid] = request.sequence
        for descriptor in descriptors:
            os.close(descriptor)

    def _assign(self, request: ForkRequest, descriptors: list[int]) -> int:
        """Send the request to the spare, or to a new fork if no spare is alive; return the worker's pid."""
        for spare in (self._spare, None):
            pid, channel = spare or self._fork_spare(descriptors)
            self._spare = None
            try:
                channel.send(request, tuple(descriptors))
            except OSError:
                if spare is None:
                    raise
            else:
                return pid
            finally:
                channel.close()
        raise AssertionError("a new fork takes the request or raises")

    def _fork_spare(self, received: Sequence[int] = ()) -> Spare:
        """Fork a worker that waits for its request.

        `received`: the descriptors of a request at hand. The child gets them with the request and must not hold them
        twice.
        """
        ours, theirs = Channel.pair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            for descriptor in received:
                os.close(descriptor)
            self._run_child(theirs)
        theirs.close()
        return Spare(pid, ours)

    def _run_child(self, requests: Channel) -> NoReturn:
        """Become a worker. A child that returned would fall back into the loop and be a second zygote."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            self._wake_reader.close()
            self._wake_writer.close()
            self.prefault.run()
            if self._confinement is not None:
                self._confinement.prepare()
            received = requests.receive()
            requests.close()
            if received is None:
                os._exit(0)  # the zygote has ended
            request, descriptors = received
            assert isinstance(request, ForkRequest)
            os.setsid()  # what the model starts is in this process group, and is killed with it
            self._report_start(request)
            self._channel.close()
            status = become_worker(request, descriptors, self._config, self._confinement)
        except BaseException:
            logger.exception("the worker failed")
        finally:
            os._exit(status)

    def _report_start(self, request: ForkRequest) -> None:
        message = Started(request.sequence, os.getpid(), early=not self._warmed_up)
        if request.user is None:
            self._channel.send(message)
        else:
            memory = os.open("/proc/self/smaps_rollup", os.O_RDONLY | os.O_CLOEXEC)
            self._channel.send(message, (memory,))
            os.close(memory)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._spare is not None and pid == self._spare.pid:
                self._spare.channel.close()
                self._spare = None
            sequence = self._sequences.pop(pid, None)
            if sequence is not None:
                self.send(Exited(sequence, pid, status))

    def send(self, message: Message) -> None:
        """Send a message to the fork server."""
        try:
            self._channel.send(message)
        except OSError:
            pass  # the fork server has ended; the loop notices it on receiving


def _other_threads() -> list[str]:
    """Return the kernel's names of this process's threads, without that of the main one."""
    tasks = (path for path in Path("/proc/self/task").iterdir() if path.name != str(os.getpid()))
    return sorted((path / "comm").read_text().strip() for path in tasks)


def _run_steps(steps: Sequence[str]) -> _StepResults:
    """Import modules ("a.b") and call functions ("a.b:warm_up"); a failed step concerns its own models only.

    Raises _ShortageError.
    """
    results = _StepResults({}, [])
    for step in steps:
        module, _, function = step.partition(":")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                imported = importlib.import_module(module)
                if function:
                    returned = getattr(imported, function)()
                    results.load_exercises.extend(filter(callable, returned if isinstance(returned, tuple) else ()))
        except (Exception, SystemExit) as error:
            if is_shortage(error):
                raise _ShortageError(f"{step} failed: {type(error).__name__}: {error}") from error
            results.failures[step] = f"{type(error).__name__}: {error}"[:_MAX_REASON]
    return results
