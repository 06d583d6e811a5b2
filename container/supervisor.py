"""Process 1 of the container: starts the fork server and the front end, watches both, and leaves nothing behind."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from polyhost.container import log, run_dir, withhold
from polyhost.container.config import Config, Isolation, store_secrets
from polyhost.container.errors import EXIT_MODEL_FAILED, ConfigError
from polyhost.container.isolation import users
from polyhost.container.isolation.confinement import usable_landlock
from polyhost.container.isolation.in_force import log_what_is_in_force
from polyhost.container.isolation.shared_processes import protect
from polyhost.container.layers import folder as layers_folder
from polyhost.container.layers import index as package_index
from polyhost.container.log_collector.keeper import LogCollectorKeeper
from polyhost.container.mms.environment import behind_router, prepare_environment
from polyhost.container.model_store.preparation import prepare
from polyhost.container.model_store.secrets import StoreSecrets
from polyhost.container.stopping import StopBudget, stop_children
from polyhost.container.system.event_loop import EventLoop
from polyhost.container.system.heartbeats import HEARTBEAT_S, HeartbeatMonitor
from polyhost.container.system.interruptible import call_interruptibly
from polyhost.container.system.line_reader import LineReader
from polyhost.container.system.prctl import become_subreaper
from polyhost.container.system.procfs import children
from polyhost.events import get_logger
from polyhost.handlers import frameworks
from polyhost.handlers.errors import BadSettingError
from polyhost.handlers.script import submitted_code
from polyhost.handlers.settings import Settings

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_MMS_FINISH_S = 4.5  # Java takes seconds to end
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
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)  # until the folder is sure to be removed
    folder = run_dir.create(config)
    try:
        # The kernel sends process 1 of a container no signal that it has no handler for, and fetching takes a while.
        for number in _STOP_SIGNALS:
            signal.signal(number, _exit_early)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
        # From here on, the log's events take turns with those of the other processes on the same stdout.
        descriptors = log.LogDescriptors.shared()
        log.configure_for(config, descriptors)
        secrets = store_secrets(environ) if config.store is not None else None
        if config.store is not None:
            config = replace(config, store=prepare(config.store, config.state_dir, folder))
        environ = {**environ, **_submitted_code(config, folder, environ)}
        config = layers_folder.prepared(config, folder)
        index = package_index.keep(package_index.variables_of(environ)) if config.layers_dir else None
        withhold.forget(config.withhold)
        environ = withhold.without(environ, config.withhold)
        config = users.with_usable_uids(config, folder)
        protect(config.isolation)
        return Supervisor(config, folder, environ, descriptors, secrets=secrets, index=index).run()
    finally:
        run_dir.remove(folder)


def _exit_early(number: int, frame: object) -> None:
    """Stop before there is anything that serves. Another signal does not disturb that."""
    for stop_signal in _STOP_SIGNALS:
        signal.signal(stop_signal, signal.SIG_IGN)
    raise SystemExit(0)


def _submitted_code(config: Config, folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Fetch the code that lies beside the models, if any, and return the variables that say where it is."""
    try:
        settings = Settings.from_environ(environ)
        into = folder / "submitted-code"
        return call_interruptibly(lambda: submitted_code.prepare(settings, config.base_dir, into))
    except BadSettingError as error:
        raise ConfigError(str(error)) from None
    except SystemExit:
        stop_children((), StopBudget(0.0))  # the process that unpacks the code
        raise


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
        secrets: StoreSecrets | None = None,
        index: int | None = None,
    ) -> None:
        """`folder`: the run folder; `environ`: the environment of all processes; `secrets`: with a model store.

        `index`: a descriptor with the variables that say where packages come from, for the fork server.

        `silence_s`: after which the fork server, or the log collector, is taken to hang, and is killed.
        """
        self._config = config
        self._run_dir = folder
        self._environ = dict(environ)
        self._loop = EventLoop()
        self._secrets = secrets
        self._index = index
        self._log_lock = log_descriptors.lock
        self._log_collector = LogCollectorKeeper(self._loop, config, log_descriptors, self._environ, silence_s)
        self._fork_server: subprocess.Popen[bytes] | None = None  # None while it is restarted
        self._heartbeats = HeartbeatMonitor(silence_s)  # of the fork server
        self._front_end: subprocess.Popen[bytes] | None = None  # None before it is started
        # In front of MMS with a model store, on the container's port; MMS has a loopback port then.
        self._router: subprocess.Popen[bytes] | None = None
        self._inner = config if config.native or secrets is None else behind_router(config)  # what MMS gets
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
                if self._secrets is not None:
                    self._start_router(self._secrets)
            for name, reason in frameworks.broken_plugins().items():
                logger.error("the handler plugin %s is not used: %s", name, reason)
            return self._loop.run()
        finally:
            budget = StopBudget(self._finish_s)
            self._stop_listening(budget)
            stop_children(self._log_collector.pids, budget)
            self._log_collector.stop(budget.log_s)

    # Starting

    def _start_fork_server(self) -> None:
        """Start the fork server. The native front end gets a channel to it, which has no path for a model to open."""
        channel = self._new_channel() if self._config.native else None
        inherited = [self._log_lock, self._log_collector.fileno()]
        command = [sys.executable, "-m", "polyhost.container.forkserver", str(self._run_dir), *map(str, inherited)]
        inherited += [] if self._index is None else [self._index]
        command += [str(channel.fileno()) if channel else "", "" if self._index is None else str(self._index)]
        command += [self._inner.to_json()]
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
                stdin=subprocess.DEVNULL if self._secrets is None else subprocess.PIPE,
                cwd=self._run_dir,
                pass_fds=inherited,
            )
        _tell(self._front_end, self._secrets)

    def _start_mms(self) -> None:
        environ = dict(self._environ)
        prepare_environment(self._inner, self._run_dir, environ)
        self._front_end = subprocess.Popen(
            [
                *(sys.executable, "-m", "polyhost.container.mms", str(self._run_dir), str(self._log_lock)),
                self._inner.to_json(),
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

    def _start_router(self, secrets: StoreSecrets) -> None:
        words = [str(self._inner.port), str(self._log_lock), self._config.to_json()]
        self._router = subprocess.Popen(
            [sys.executable, "-m", "polyhost.container.router", *words],
            env=self._environ,
            stdin=subprocess.PIPE,
            cwd=self._run_dir,
            pass_fds=[self._log_lock],
        )
        _tell(self._router, secrets)

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
        elif self._router is not None and self._router.poll() is not None:
            logger.error("the router has ended; the container ends with it")
            self._loop.stop(1)
        elif self._fork_server is not None and (status := self._fork_server.poll()) is not None:
            self._fork_server = None
            self._on_fork_server_ended(status)

    def _reap_orphans(self) -> None:
        """Reap the orphans that this process has adopted, but not the children whose status Popen collects."""
        known = (self._fork_server, self._front_end, self._router)
        named = {process.pid for process in known if process is not None}
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

    @property
    def _finish_s(self) -> float:
        """For running invocations, and with a model store for what is still accepted; MMS alone does not wait."""
        config = self._config
        if config.store is not None:
            return config.store.drain_s + config.finish_s
        return config.finish_s if config.native else _MMS_FINISH_S

    def _stop_listening(self, budget: StopBudget) -> None:
        """Have the native front end, or the router, respond to the requests in progress; until then all else lives."""
        first = self._front_end if self._config.native else self._router
        if first is not None and first.poll() is None:
            first.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                first.wait(budget.front_end_s)


def _tell(process: subprocess.Popen[bytes], secrets: StoreSecrets | None) -> None:
    """Write the secrets to the process's stdin, and close it. They are less than a pipe holds, or nearly so."""
    if secrets is not None:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:  # it has ended; its end is noticed elsewhere
            stdin.write(secrets.to_json())


def _raise_descriptor_limit() -> None:
    """Raise the limit: each model costs the fork server six descriptors, and a shell's usual limit is 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
