"""The log collector, as the supervisor sees it: started, watched, restarted, and stopped last of all processes."""

import contextlib
import subprocess
import sys
from collections.abc import Mapping

from polyhost.container.config import Config
from polyhost.container.control_protocol import Channel
from polyhost.container.log import LogDescriptors
from polyhost.container.system.event_loop import EventLoop
from polyhost.container.system.heartbeats import HeartbeatMonitor
from polyhost.events import get_logger

_RESTART_S = 1.0

logger = get_logger(__name__)


class LogCollectorKeeper:
    """Keeps a log collector running.

    Both ends of its channel to the fork server stay open here, so that either may be restarted: what was sent to a
    collector that has died waits for the next one.
    """

    def __init__(
        self, loop: EventLoop, config: Config, log: LogDescriptors, environ: Mapping[str, str], silence_s: float
    ) -> None:
        """`silence_s`: after which the collector is taken to hang, and is killed."""
        self._loop = loop
        self._log = log
        self._arguments = ["json" if config.log_json else "text", str(config.log_level), config.isolation]
        self._environ = environ
        self._heartbeats = HeartbeatMonitor(silence_s)
        self._fork_servers_end, self._own_end = Channel.pair()
        self._process: subprocess.Popen[bytes] | None = None  # None while it is restarted
        self._stopping = False

    @property
    def pids(self) -> set[int]:
        """The collector's pid, if it runs."""
        return {self._process.pid} if self._process is not None else set()

    def fileno(self) -> int:
        """Return the fork server's end of the channel, for it to inherit."""
        return self._fork_servers_end.fileno()

    def start(self) -> None:
        """Start the collector. Raises OSError."""
        inherited = [self._own_end.fileno(), self._log.lock]
        command = [sys.executable, "-m", "polyhost.container.log_collector", *map(str, inherited), *self._arguments]
        with self._heartbeats.connect() as stdin:
            self._process = subprocess.Popen(
                command, env=dict(self._environ), stdin=stdin.fileno(), stdout=self._log.output, pass_fds=inherited
            )

    def check_heartbeats(self) -> None:
        """Kill a collector that hangs. To be called every HEARTBEAT_S."""
        if self._process is not None and self._heartbeats.check():
            logger.error("the log collector has not responded for %g s; killing it", self._heartbeats.limit_s)
            self._process.kill()

    def check_end(self) -> None:
        """Restart a collector that has ended."""
        if self._process is not None and not self._stopping and (status := self._process.poll()) is not None:
            self._process = None
            logger.error("the log collector ended with status %s; restarting it", status)
            self._loop.after(_RESTART_S, self._restart)

    def _restart(self) -> None:
        try:
            self.start()
        except OSError as error:
            logger.error("cannot start the log collector now: %s", error)
            self._loop.after(_RESTART_S, self._restart)

    def stop(self, seconds: float) -> None:
        """Have it log what is left, once the workers have ended; kill it if that takes longer."""
        self._stopping = True
        if (process := self._process) is not None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
            process.kill()
            process.wait()
