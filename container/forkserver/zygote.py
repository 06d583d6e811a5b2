"""A zygote: a process that imports one framework, then only forks. Each fork becomes a worker with the import done.

The parent half lives in the fork server; the child half is a process of its own, started with `python -m`.
"""

import importlib
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from polyhost.container import log
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
from polyhost.container.prefork import heap
from polyhost.container.prefork.prefault import Forecast, Rehearsal
from polyhost.container.prefork.warm_up import rehearse, staged
from polyhost.container.system.line_reader import Lines
from polyhost.container.worker.process import become_worker

_REASON = 500  # characters of why a step failed: all of them go into one message
_SPARE_AFTER_S = 0.01  # when the load that took the last one is mostly done
_SPARE_LATER_S = 1.0  # where there was no process or memory for it

Replay = Callable[[], AbstractContextManager[Rehearsal]]

logger = logging.getLogger("polyhost.zygote")


# The parent half


class Zygote:
    """One zygote process, as the fork server sees it. Requests sent before it is ready wait in its socket."""

    def __init__(self, name: str, steps: Sequence[str], config: Config, run_dir: Path, log_descriptor: int) -> None:
        self.name = name
        self.in_flight: dict[int, tuple[ForkRequest, tuple[int, ...]]] = {}
        self.early_ends = 0  # in a row, before it was ready
        self.steps = steps
        self._config = config
        self._run_dir = run_dir
        self._log_descriptor = log_descriptor
        self.channel: Channel
        self.output: Lines  # what native code prints on import; the log takes events only
        self.process: subprocess.Popen[bytes]
        self.start()

    def start(self) -> None:
        """Starts the process, also in the place of one that died; what that one had not begun goes to the new one."""
        self.channel, theirs = Channel.pair()
        command = [sys.executable, "-m", "polyhost.container.forkserver.zygote", self.name, " ".join(self.steps)]
        descriptors = [theirs.fileno(), self._log_descriptor]
        command += [*map(str, descriptors), str(self._run_dir), self._config.to_json()]
        output, writer = os.pipe2(os.O_CLOEXEC)
        self.output = Lines(output)
        try:
            self.process = subprocess.Popen(
                command, pass_fds=descriptors, stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.STDOUT
            )
        finally:
            os.close(writer)
            theirs.close()
        for request, fork_descriptors in self.in_flight.values():
            self._send(request, fork_descriptors)

    def fork(self, request: ForkRequest, descriptors: tuple[int, ...]) -> None:
        """The descriptors stay open here until the worker has said that it runs. Raises MessageError."""
        self._send(request, descriptors)
        self.in_flight[request.sequence] = (request, descriptors)

    def _send(self, request: ForkRequest, descriptors: tuple[int, ...]) -> None:
        try:
            self.channel.send(request, descriptors)
        except OSError:
            pass  # it has just died; start() sends the request again

    def begun(self, sequence: int) -> None:
        request = self.in_flight.pop(sequence, None)
        for descriptor in request[1] if request else ():
            os.close(descriptor)

    def hang_up(self) -> None:
        self.channel.close()
        self.output.close()

    def close(self) -> None:
        self.hang_up()
        for sequence in list(self.in_flight):
            self.begun(sequence)


# The child half


class ZygoteProcess:
    """Waits for requests and for children; single-threaded, for a fork copies the calling thread only."""

    def __init__(self, name: str, channel: Channel, config: Config) -> None:
        self._name = name
        self._channel = channel
        self._config = config
        self._workers: dict[int, int] = {}  # pid -> sequence
        self._forecast: Forecast
        self._spare_after_s = _SPARE_AFTER_S
        self._spare: tuple[int, Channel] | None = None  # a fork that waits for its request
        self._wake_reader, self._wake_writer = socket.socketpair()

    def run(self, steps: Sequence[str]) -> int:
        seconds, failures, replays = _prepare(steps)
        self._settle(replays)
        self._announce(seconds, failures)
        for end in (self._wake_reader, self._wake_writer):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda signum, frame: None)
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            selector.register(self._wake_reader, selectors.EVENT_READ)
            return self._loop(selector)

    def _settle(self, replays: Sequence[Replay]) -> None:
        rehearse(self._config)
        heap.settle()
        self._forecast = Forecast(self._rehearsals(replays))
        heap.settle()  # to learn has left holes

    def _rehearsals(self, replays: Sequence[Replay]) -> Iterator[Rehearsal]:
        """Each to be played before the next is asked for."""
        with staged(self._config) as serve:
            if not replays:
                yield serve
            for replay in replays:
                with replay() as load_and_ask:
                    yield lambda: (serve(), load_and_ask())

    def _announce(self, seconds: float, failures: dict[str, str]) -> None:
        threads = len(list(Path("/proc/self/task").iterdir()))
        if threads > 1:
            logger.warning("zygote %s has %d threads after its imports: forks may hang", self._name, threads)
        self._send(Ready(round(seconds, 3), failures))

    def _loop(self, selector: selectors.BaseSelector) -> int:
        while True:
            events = selector.select(None if self._spare else self._spare_after_s)
            if not events:
                self._keep_spare()
            for key, _ in events:
                if key.fileobj is self._wake_reader:
                    self._reap()
                    continue
                try:
                    received = self._channel.receive()
                except MessageError:
                    logger.exception("zygote %s: a request for a fork is lost", self._name)
                    continue
                if received is None:
                    return 0  # the fork server is gone; the workers serve on
                request, descriptors = received
                assert isinstance(request, ForkRequest)
                self._fork(request, descriptors)

    def _keep_spare(self) -> None:
        """In a quiet moment, a fork ahead of the next request: it takes a fifth of a small model's load.

        Not at once, for the fork would compete with the load that has just used the last spare.
        """
        if self._spare is None:
            try:
                self._spare = self._fork_spare()
            except OSError as error:
                if self._spare_after_s == _SPARE_AFTER_S:
                    logger.warning("zygote %s: no spare worker for now: %s", self._name, error)
                self._spare_after_s = _SPARE_LATER_S
            else:
                self._spare_after_s = _SPARE_AFTER_S

    def _fork(self, request: ForkRequest, descriptors: list[int]) -> None:
        try:
            pid = self._hand_over(request, descriptors)
        except OSError as error:
            self._send(ForkFailed(request.sequence, str(error)))
        else:
            self._workers[pid] = request.sequence
        for descriptor in descriptors:
            os.close(descriptor)

    def _hand_over(self, request: ForkRequest, descriptors: list[int]) -> int:
        """Gives the request to the spare, or to a new fork where there is none or it has died; the worker's pid."""
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

    def _fork_spare(self, received: Sequence[int] = ()) -> tuple[int, Channel]:
        """`received`: a request's descriptors, which the child gets with the request and must not hold twice."""
        ours, theirs = Channel.pair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            for descriptor in received:
                os.close(descriptor)
            self._child(theirs)
        theirs.close()
        return pid, ours

    def _child(self, requests: Channel) -> None:
        """Never returns: a child that fell back into the loop would be a second zygote."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            self._wake_reader.close()
            self._wake_writer.close()
            self._forecast.copy()
            received = requests.receive()
            requests.close()
            if received is None:
                os._exit(0)  # the zygote is gone
            request, descriptors = received
            assert isinstance(request, ForkRequest)
            os.setsid()  # what the model starts is of its group, and ends with it
            self._channel.send(Started(request.sequence, os.getpid()))
            self._channel.close()
            status = become_worker(request, descriptors, self._config)
        except BaseException:
            logger.exception("a worker failed")
        finally:
            os._exit(status)

    def _reap(self) -> None:
        self._wake_reader.recv(4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._spare is not None and pid == self._spare[0]:
                self._spare[1].close()
                self._spare = None
            sequence = self._workers.pop(pid, None)
            if sequence is not None:
                self._send(Exited(sequence, pid, status))

    def _send(self, message: Message) -> None:
        try:
            self._channel.send(message)
        except OSError:
            pass  # the fork server is gone; receive() will say so


def _prepare(steps: Sequence[str]) -> tuple[float, dict[str, str], list[Replay]]:
    """Imports modules ("a.b") and calls functions ("a.b:warm_up"). What fails is missed by its own models only.

    A function may return a tuple of functions that stage a load and a call each.
    """
    start = time.monotonic()
    failures: dict[str, str] = {}
    replays: list[Replay] = []
    for step in steps:
        module, _, function = step.partition(":")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                imported = importlib.import_module(module)
                if function:
                    returned = getattr(imported, function)()
                    replays += filter(callable, returned if isinstance(returned, tuple) else ())
        except (Exception, SystemExit) as error:
            failures[step] = f"{type(error).__name__}: {error}"[:_REASON]
    return time.monotonic() - start, failures, replays


def main(arguments: Sequence[str]) -> int:
    name, steps, socket_descriptor, log_descriptor, run_dir, config_json = arguments
    config = Config.from_json(config_json)
    # The workers inherit it as it is: to configure a log writes to a hundred pages.
    log.configure_for(config, Path(run_dir), int(log_descriptor))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the entry point acts on it
    channel = Channel(socket.socket(fileno=int(socket_descriptor)))
    return ZygoteProcess(name, channel, config).run(steps.split())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
