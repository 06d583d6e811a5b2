"""One zygote, as the fork server sees it."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from polyhost.container.config import Config
from polyhost.container.control_protocol import Channel, ForkDescriptors, ForkRequest
from polyhost.container.system.line_reader import LineReader

_MODULE = "polyhost.container.forkserver.zygote"  # in the command line, which identifies zygotes and their forks


class ZygoteHandle:
    """A zygote's process and the channel to it. Requests sent before the zygote is ready wait in the channel."""

    def __init__(self, name: str, steps: Sequence[str], config: Config, run_dir: Path, log_descriptor: int) -> None:
        self.name = name
        self.steps = steps
        self.early_exits = 0  # in a row, before it was ready
        self.in_flight: dict[int, tuple[ForkRequest, ForkDescriptors]] = {}  # by sequence number
        self._config = config
        self._run_dir = run_dir
        self._log_descriptor = log_descriptor
        # `output` is what native code prints on import; the container's log takes events only.
        self.process, self.channel, self.output = self._start()

    def restart(self) -> None:
        """Start another process after the first has died and was disconnected.

        Requests whose workers have not started go to the new one. Raises OSError.
        """
        self.process, self.channel, self.output = self._start()
        for request, descriptors in self.in_flight.values():
            self._send(request, descriptors)

    def _start(self) -> tuple[subprocess.Popen[bytes], Channel, LineReader]:
        channel, zygotes_end = Channel.pair()
        with contextlib.ExitStack() as on_failure, zygotes_end.socket:
            on_failure.callback(channel.close)
            reader, writer = os.pipe2(os.O_CLOEXEC)
            output = LineReader(reader)
            on_failure.callback(output.close)
            inherited = [zygotes_end.fileno(), self._log_descriptor]
            command = [sys.executable, "-m", _MODULE, self.name, " ".join(self.steps)]
            command += [*map(str, inherited), str(self._run_dir), self._config.to_json()]
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
        self._send(request, descriptors)
        self.in_flight[request.sequence] = (request, descriptors)

    def _send(self, request: ForkRequest, descriptors: ForkDescriptors) -> None:
        try:
            self.channel.send(request, descriptors)
        except OSError:
            pass  # the zygote has just died; `restart` sends the request again

    def complete(self, sequence: int) -> None:
        """Close the descriptors of a request whose worker has started or could not be forked."""
        if in_flight := self.in_flight.pop(sequence, None):
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
