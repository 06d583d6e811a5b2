"""One zygote, as the fork server sees it."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections import deque
from pathlib import Path

from polyhost.container.config import Config
from polyhost.container.control_protocol import Channel, ForkDescriptors, ForkRequest, MessageError
from polyhost.container.forkserver.zygote.restarts import EXIT_SHORTAGE, RestartDelays, Restarts, reports_shortage
from polyhost.container.log import LogDescriptors
from polyhost.container.memory.gauge import private_bytes
from polyhost.container.system.line_reader import LineReader
from polyhost.container.system.procfs import children_of, wait_for_end
from polyhost.handlers import frameworks
from polyhost.handlers.frameworks import ZygoteSteps

_MODULE = "polyhost.container.forkserver.zygote"  # in the command line, which identifies zygotes and their forks

_PRINTED_LINES = 50  # of native code's last ones, which may say why the process died
_MEMORY_WAIT_S = 0.5  # for the end of a killed spare
_DELAYS = RestartDelays()


class ZygoteHandle:
    """A zygote's process and the channel to it. Requests sent before the zygote is ready wait in the channel."""

    def __init__(
        self,
        name: str,
        steps: ZygoteSteps,
        config: Config,
        run_dir: Path,
        log_descriptors: LogDescriptors,
        delays: RestartDelays = _DELAYS,
    ) -> None:
        self.name = name
        self.steps = steps
        self.restarts = Restarts(delays, bool(steps))
        self.in_flight: dict[int, tuple[ForkRequest, ForkDescriptors]] = {}  # by sequence number
        self.workers: set[int] = set()  # that run, by sequence number
        self._rounds: dict[int, int] = {}  # for which these requests have waited
        self._unsent: deque[int] = deque()  # those of them that the channel had no room for
        self._delays = delays
        self._config = config
        self._run_dir = run_dir
        self._log_descriptors = log_descriptors
        # `output` is what native code prints on import; the container's log takes events only.
        self.process, self.channel, self.output = self._start()

    def restart(self) -> None:
        """Start another process after the first has died and was disconnected.

        Requests whose workers have not started go to the new one. Raises OSError.
        """
        self.process, self.channel, self.output = self._start()
        self.workers.clear()  # the last process's workers are not this one's children
        self._rounds = dict.fromkeys(self.in_flight, 0)
        self._unsent = deque(self.in_flight)
        self.send_waiting()

    def read_output(self) -> list[str] | None:
        """Return the lines that have been printed since the last call, or None at the end."""
        lines = self.output.read()
        self._printed += lines or ()
        return lines

    def wait(self) -> tuple[int, bool]:
        """Return the exit status of the process, and whether it died for lack of processes or memory."""
        status = self.process.wait()
        self.read_output()
        return status, status == EXIT_SHORTAGE or reports_shortage(self._printed)

    def take_in_flight(self) -> list[tuple[ForkRequest, ForkDescriptors]]:
        """Return the requests whose workers have not started; they are the caller's now."""
        taken = list(self.in_flight.values())
        self.in_flight.clear()
        return taken

    def on_ready(self) -> None:
        """Note that the process has done its imports: the time that these took does not count against it any more."""
        self.restarts.on_ready()
        self._rounds = dict.fromkeys(self.in_flight, 0)

    def overdue(self) -> list[int]:
        """Return the requests that have waited for too long; to be asked once a round."""
        most = self._delays.silent_rounds if self.restarts.ready else self._delays.importing_rounds
        for sequence in self.in_flight:
            self._rounds[sequence] += 1
        return [sequence for sequence in self.in_flight if self._rounds[sequence] > most]

    def bytes_to_come(self) -> int:
        """Return the bytes that the process is yet to take while it does its imports."""
        if self.restarts.given_up:
            return 0
        expected = frameworks.named(self.name).zygote_bytes
        try:
            return max(0, expected - private_bytes(self.process.pid))
        except OSError:  # it has just died, and is started again
            return expected

    @property
    def is_unused(self) -> bool:
        """Whether the process runs, and no worker is a fork of it or waits to become one."""
        return self.process.returncode is None and not self.workers and not self.in_flight

    def kill(self) -> list[int]:
        """Kill the process, and the forks that wait for a request: they may hang as it does. Return the forks' pids.

        A worker leads a session of its own, and serves on.
        """
        forks = [pid for pid in children_of(self.process.pid) if _shares_session(pid)]
        self.process.kill()
        self.process.wait()
        for pid in forks:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return forks

    def free_memory(self) -> None:
        """Kill the process and its spare, and close everything; return once their memory is free, or nearly so."""
        for pid in self.kill():
            wait_for_end(pid, _MEMORY_WAIT_S)
        self.close()

    def has_message(self) -> bool:
        """Return whether the process has sent something that has not been received."""
        watch = select.poll()
        watch.register(self.channel, select.POLLIN)
        return bool(watch.poll(0))

    def _start(self) -> tuple[subprocess.Popen[bytes], Channel, LineReader]:
        self._printed: deque[str] = deque(maxlen=_PRINTED_LINES)
        channel, zygotes_end = Channel.pair()
        with contextlib.ExitStack() as on_failure, zygotes_end.socket:
            on_failure.callback(channel.close)
            reader, writer = os.pipe2(os.O_CLOEXEC)
            output = LineReader(reader)
            on_failure.callback(output.close)
            inherited = [zygotes_end.fileno(), *self._log_descriptors.inherited]
            steps = map(" ".join, (self.steps.imports, self.steps.warm_ups))
            command = [sys.executable, "-m", _MODULE, self.name, *steps, str(zygotes_end.fileno())]
            command += [*map(str, self._log_descriptors), str(self._run_dir), self._config.to_json()]
            try:
                process = subprocess.Popen(
                    command, pass_fds=inherited, stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.STDOUT
                )
            finally:
                os.close(writer)
            on_failure.pop_all()
        return process, channel, output

    def fork(self, request: ForkRequest, descriptors: ForkDescriptors) -> None:
        """Ask for a worker. The descriptors stay open here until `complete`. Raises MessageError."""
        self.in_flight[request.sequence] = (request, descriptors)
        self._rounds[request.sequence] = 0
        self._unsent.append(request.sequence)
        try:
            self.send_waiting()
        except MessageError:
            del self.in_flight[request.sequence]
            raise

    def send_waiting(self) -> None:
        """Send the requests that the channel had no room for. Never waits: the process may hang."""
        while self._unsent:
            if in_flight := self.in_flight.get(self._unsent[0]):
                try:
                    self.channel.send(*in_flight, flags=socket.MSG_DONTWAIT)
                except BlockingIOError:
                    return
                except OSError:
                    pass  # the zygote has just died; `restart` sends the request again
                except MessageError:
                    self._unsent.popleft()
                    raise
            self._unsent.popleft()

    def complete(self, sequence: int) -> None:
        """Close the descriptors of a request whose worker has started or could not be forked.

        Requests are answered in order: those that came later have only begun to wait for the process now.
        """
        self._rounds.pop(sequence, None)
        if in_flight := self.in_flight.pop(sequence, None):
            self._rounds.update((later, 0) for later in self.in_flight if later > sequence)
            for descriptor in in_flight[1]:
                os.close(descriptor)

    def disconnect(self) -> None:
        """Close the channel and the output; requests in flight are kept."""
        self.channel.close()
        self.output.close()

    def close(self) -> None:
        """Close everything; the zygote ends by itself, and its workers continue."""
        self.disconnect()
        for sequence in list(self.in_flight):
            self.complete(sequence)


def _shares_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == os.getsid(0)
    except ProcessLookupError:
        return False
