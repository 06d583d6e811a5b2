"""Process 1 of the container: starts the fork server and the front end, watches both, and leaves nothing behind."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from polyhost.container import log, run_dir, withhold
from polyhost.container.config import Config, Isolation
from polyhost.container.errors import EXIT_MODEL_FAILED, ConfigError
from polyhost.container.isolation.confinement import usable_landlock
from polyhost.container.isolation.in_force import log_what_is_in_force
from polyhost.container.log_collector.keeper import LogCollectorKeeper
from polyhost.container.mms.environment import prepare_environment
from polyhost.container.system.event_loop import EventLoop
from polyhost.container.system.heartbeats import HEARTBEAT_S, HeartbeatMonitor
from polyhost.container.system.line_reader import LineReader
from polyhost.container.system.prctl import become_subreaper
from polyhost.container.system.procfs import children
from polyhost.events import get_logger
from polyhost.handlers import frameworks
from polyhost.handlers.errors import BadSettingError
from polyhost.handlers.script import submitted_code
from polyhost.handlers.settings import Settings

# The container has 30 s to stop, SageMaker's limit; these parts of it add up.
_FRONT_END_MARGIN_S = 2.0  # for the native front end, beyond the time that requests in progress have
_TERMINATE_S, _KILL_S = 4.0, 2.0
_MAX_RESTARTS, _RESTARTS_WITHIN_S = 5, 60.0
_RESTART_S, _RETRY_S = 0.2, 2.0
_REAP_S = 1.0
_SILENCE_S = 30.0  # a fork server that sends no heartbeat for so long hangs

logger = get_logger(__name__)


def serve(config: Config, environ: Mapping[str, str]) -> int:
    """Run the container until it is stopped or cannot go on; return the exit status.

    It is 0 after SIGTERM or SIGINT, else 1, and the log says why. `environ` is the environment of the container's
    processes. Raises ConfigError if a setting cannot be used.
    """
    _check(config)
    folder = run_dir.create(config)
    # From here on, the log's events take turns with those of the other processes on the same stdout.
    descriptors = log.LogDescriptors.shared()
    log.configure_for(config, descriptors)
    try:
        # The kernel sends process 1 of a container no signal that it has no handler for, and fetching takes a while.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _exit_early)
        environ = {**environ, **_submitted_code(config, folder, environ)}
        withhold.forget(config.withhold)
        environ = withhold.without(environ, config.withhold)
        return Supervisor(config, folder, environ, descriptors).run()
    finally:
        run_dir.remove(folder)


def _exit_early(number: int, frame: object) -> None:
    """Stop before there is anything that runs."""
    raise SystemExit(0)


def _submitted_code(config: Config, folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Fetch the code that lies beside the models, if any, and return the variables that say where it is."""
    try:
        return submitted_code.prepare(Settings.from_environ(environ), config.base_dir, folder / "submitted-code")
    except BadSettingError as error:
        raise ConfigError(str(error)) from None


def _check(config: Config) -> None:
    """Check the port and the model directory, of which MMS would complain only in its own log, and the isolation."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.host, config.port))
        except OSError as error:
            raise ConfigError(f"SAGEMAKER_BIND_TO_PORT={config.port}: {error.strerror}; choose another port") from None
    if config.isolation is Isolation.STRICT and not usable_landlock():
        raise ConfigError(
            "POLYHOST_ISOLATION='strict': it takes Landlock, which this kernel does not have (Linux 5.19 or later,"
            " `landlock` among its security modules); use standard, which closes what it can"
        )
    if not config.multi_model and not config.models_dir.is_dir():
        raise ConfigError(f"{config.models_dir} does not exist: mount a model there, or set SAGEMAKER_MULTI_MODEL=true")


class Supervisor:
    """Starts, watches and stops the processes of a container."""

    def __init__(
        self,
        config: Config,
        folder: Path,
        environ: Mapping[str, str],
        log_descriptors: log.LogDescriptors,
        silence_s: float = _SILENCE_S,
    ) -> None:
        """`folder`: the run folder; `environ`: the environment of all processes.

        `silence_s`: after which the fork server, or the log collector, is taken to hang, and is killed.
        """
        self._config = config
        self._run_dir = folder
        self._environ = dict(environ)
        self._loop = EventLoop()
        self._log_lock = log_descriptors.lock
        self._log_collector = LogCollectorKeeper(self._loop, config, log_descriptors, self._environ, silence_s)
        self._fork_server: subprocess.Popen[bytes] | None = None  # None while it is restarted
        self._heartbeats = HeartbeatMonitor(silence_s)  # of the fork server
        self._front_end: subprocess.Popen[bytes] | None = None  # None before it is started
        # To the native front end, for channels to fork servers.
        self._front_end_socket: socket.socket | None = None
        self._fork_server_deaths: list[float] = []  # times of the recent ones

    def run(self) -> int:
        """Run the container; return its exit status. No child process is left afterwards."""
        log_what_is_in_force(self._config, self._run_dir)
        become_subreaper()  # process 1 of a container is one in any case
        _raise_descriptor_limit()
        try:
            self._loop.on_signals(
                {signal.SIGTERM: self._on_stop, signal.SIGINT: self._on_stop, signal.SIGCHLD: self._on_children}
            )
            # Also without a signal: the kernel's list of children can lack one that ends while it is read (proc(5)).
            self._loop.every(_REAP_S, self._on_children)
            self._loop.every(HEARTBEAT_S, self._check_heartbeats)
            self._log_collector.start()
            if self._config.native:
                self._start_native_front_end()
                self._start_fork_server()
            else:
                self._start_fork_server()
                self._start_mms()
            for name, reason in frameworks.broken_plugins().items():
                logger.error("the handler plugin %s is not used: %s", name, reason)
            return self._loop.run()
        finally:
            self._stop_native_front_end()
            _stop_children(spared=self._log_collector.pids)
            self._log_collector.stop()

    # Starting

    def _start_fork_server(self) -> None:
        """Start the fork server. The native front end gets a channel to it, which has no path for a model to open."""
        channel = self._new_channel() if self._config.native else None
        inherited = [self._log_lock, self._log_collector.fileno()]
        command = [sys.executable, "-m", "polyhost.container.forkserver", str(self._run_dir), *map(str, inherited)]
        command += [str(channel.fileno()) if channel else "", self._config.to_json()]
        try:
            with self._heartbeats.connect() as stdin:  # our end closes when this process ends, however that happens
                self._fork_server = subprocess.Popen(
                    command,
                    env=frameworks.environment() | self._environ,
                    stdin=stdin.fileno(),
                    pass_fds=[*inherited, *([channel.fileno()] if channel else [])],
                )
        finally:
            if channel:
                channel.close()

    def _new_channel(self) -> socket.socket:
        """Send the front end its end of a new channel; return the fork server's end."""
        assert self._front_end_socket is not None
        fork_servers_end, front_ends_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with front_ends_end, contextlib.suppress(OSError):  # the front end has ended, and the container ends with it
            socket.send_fds(self._front_end_socket, [b"."], [front_ends_end.fileno()])
        return fork_servers_end

    def _start_native_front_end(self) -> None:
        self._front_end_socket, front_ends_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with front_ends_end:
            inherited = [front_ends_end.fileno(), self._log_lock]
            self._front_end = subprocess.Popen(
                [sys.executable, "-m", "polyhost.container.native", *map(str, inherited), self._config.to_json()],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                cwd=self._run_dir,
                pass_fds=inherited,
            )

    def _start_mms(self) -> None:
        environ = dict(self._environ)
        prepare_environment(self._config, self._run_dir, environ)
        self._front_end = subprocess.Popen(
            [
                *(sys.executable, "-m", "polyhost.container.mms", str(self._run_dir), str(self._log_lock)),
                self._config.to_json(),
            ],
            env=environ,
            pass_fds=[self._log_lock],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self._run_dir,
        )
        assert self._front_end.stdout is not None
        output = LineReader(self._front_end.stdout.fileno())
        self._loop.watch(output, lambda: self._on_mms_output(output))

    # Watching

    def _on_mms_output(self, output: LineReader) -> None:
        """Log what Java and its starters print: the container's log has events only, not plain lines."""
        lines = output.read()
        if lines is None:
            self._loop.unwatch(output)
        for line in lines or ():
            if self._config.log_json and not line.startswith('{"'):
                get_logger("mms").info("%s", line)
            else:
                log.write_all(1, line.encode() + b"\n")

    def _on_stop(self) -> None:
        logger.info("stopping")
        self._loop.stop(0)

    def _on_children(self) -> None:
        self._reap_orphans()
        self._log_collector.check_end()
        if self._front_end is not None and self._front_end.poll() is not None:
            name = "the native front end" if self._config.native else "Multi Model Server"
            logger.error("%s has ended; the container ends with it", name)
            self._loop.stop(1)
        elif self._fork_server is not None and (status := self._fork_server.poll()) is not None:
            self._fork_server = None
            self._on_fork_server_ended(status)

    def _reap_orphans(self) -> None:
        """Reap the orphans that this process has adopted, but not the children whose status Popen collects."""
        named = {process.pid for process in (self._fork_server, self._front_end) if process is not None}
        named |= self._log_collector.pids
        for pid in set(children()) - named:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass

    def _check_heartbeats(self) -> None:
        """Kill a fork server that hangs: SIGKILL ends a stopped process as well, and its end is what restarts it."""
        if self._fork_server is not None and self._heartbeats.check():
            logger.error("the fork server has not responded for %g s; killing it", self._heartbeats.limit_s)
            self._fork_server.kill()
        self._log_collector.check_heartbeats()

    def _on_fork_server_ended(self, status: int) -> None:
        now = time.monotonic()
        recent = [death for death in self._fork_server_deaths if now - death < _RESTARTS_WITHIN_S]
        self._fork_server_deaths = [*recent, now]
        if status == EXIT_MODEL_FAILED:
            logger.error("the container's only model cannot be loaded (the log says why above); the container ends")
            self._loop.stop(1)
        elif len(self._fork_server_deaths) > _MAX_RESTARTS:
            logger.error(
                "the fork server ended %d times within a minute; the container ends", len(self._fork_server_deaths)
            )
            self._loop.stop(1)
        else:
            logger.error("the fork server ended with status %s; restarting it, loaded models are not affected", status)
            self._loop.after(_RESTART_S, self._restart_fork_server)

    def _restart_fork_server(self) -> None:
        """Restart it. A lack of processes, memory or descriptors counts as one more death, and may soon be over."""
        try:
            self._start_fork_server()
        except OSError as error:
            logger.error("cannot start the fork server now: %s", error)
            self._loop.after(_RETRY_S, lambda: self._on_fork_server_ended(1))

    # Stopping

    def _stop_native_front_end(self) -> None:
        """Have it respond to the requests in progress first; the workers must live until then."""
        front_end = self._front_end
        if self._config.native and front_end is not None and front_end.poll() is None:
            front_end.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                front_end.wait(self._config.finish_s + _FRONT_END_MARGIN_S)


def _stop_children(spared: Collection[int]) -> None:
    """Send SIGTERM to all children, adopted ones included, and SIGKILL to those that do not end."""
    deadline = time.monotonic() + _TERMINATE_S
    for number, until in ((signal.SIGTERM, deadline), (signal.SIGKILL, deadline + _KILL_S)):
        while (left := set(children()) - set(spared)) and time.monotonic() < until:
            for pid in left:
                _signal(pid, number)
            _reap_one_or_wait(0.05)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _reap_one_or_wait(seconds: float) -> None:
    try:
        if os.waitpid(-1, os.WNOHANG)[0] == 0:
            time.sleep(seconds)
    except ChildProcessError:
        pass


def _raise_descriptor_limit() -> None:
    """Raise the limit: each model costs the fork server six descriptors, and a shell's usual limit is 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
