"""Process 1 of the container: starts the fork server and the front end, watches both, and leaves nothing behind."""

import contextlib
import ctypes
import logging
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from polyhost.container import log
from polyhost.container.config import Config
from polyhost.container.errors import EXIT_MODEL_FAILED, ConfigError
from polyhost.container.mms.launcher import FIFO, LAUNCHES
from polyhost.container.system.event_loop import Loop
from polyhost.container.system.line_reader import Lines
from polyhost.container.system.procfs import children
from polyhost.handlers import frameworks

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
# SageMaker waits for 30 s in all.
_FINISH_S = 2.0  # what the native front end takes beyond the calls' own time
_STOP_S = 4.0
_RESTARTS, _RESTARTS_WITHIN_S = 5, 60.0
_RESTART_S, _RETRY_S = 0.2, 2.0
_REAP_S = 1.0
# The path of a socket has 107 bytes at most (unix(7)): PARENT/polyhost-XXXXXXXX/tmp/.mms.sock.PORT
_LONGEST_RUN_DIR = 107 - len("/polyhost-XXXXXXXX/tmp/.mms.sock.65535")

logger = logging.getLogger("polyhost")


class Supervisor:
    def __init__(self, config: Config) -> None:
        self._config = config
        self._loop = Loop()
        self._run_dir: Path
        self._fork_server: subprocess.Popen[bytes] | None = None  # None while it is being restarted
        self._front_end: subprocess.Popen[bytes]
        self._to_front_end: socket.socket | None = None  # the native one's; it gets channels to fork servers on it
        self._deaths: list[float] = []

    def run(self) -> int:
        """The exit status: 0 after SIGTERM, else 1, and the log has a sentence that says why."""
        self._check()
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)  # outside a container; inside, process 1 is one anyway
        _allow_many_files()
        self._run_dir = self._make_run_dir()
        self._configure_log()
        try:
            self._loop.on_signals(
                {signal.SIGTERM: self._on_stop, signal.SIGINT: self._on_stop, signal.SIGCHLD: self._on_children}
            )
            # Also unasked: the kernel's list of children can lack one that ends while it is read (proc(5)).
            self._loop.every(_REAP_S, self._on_children)
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
            self._let_finish()
            self._end_everything()
            shutil.rmtree(self._run_dir, ignore_errors=True)

    def _check(self) -> None:
        """What MMS would only say in a log that nobody reads: a port in use, and no place for models."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", self._config.port))
            except OSError as error:
                raise ConfigError(
                    f"SAGEMAKER_BIND_TO_PORT={self._config.port}: {error.strerror}; choose another port"
                ) from None
        if not self._config.multi_model and not self._config.models_dir.is_dir():
            raise ConfigError(
                f"{self._config.models_dir} does not exist: mount a model there, or set SAGEMAKER_MULTI_MODEL=true"
            )

    def _make_run_dir(self) -> Path:
        parent = Path(self._config.run_dir or tempfile.gettempdir()).absolute()
        if len(os.fsencode(parent)) > _LONGEST_RUN_DIR:
            raise ConfigError(
                f"POLYHOST_RUN_DIR: {parent} has more than {_LONGEST_RUN_DIR} bytes, too many for the paths of sockets"
                " below it; choose a shorter one"
            )
        try:
            parent.mkdir(parents=True, exist_ok=True)
            run_dir = Path(tempfile.mkdtemp(prefix="polyhost-", dir=parent))
            for folder in (LAUNCHES, "tmp"):
                (run_dir / folder).mkdir()
            os.mkfifo(run_dir / FIFO, 0o600)
        except OSError as error:
            raise ConfigError(f"POLYHOST_RUN_DIR: {parent}: {error.strerror}; choose a folder to write in") from None
        return run_dir

    def _configure_log(self) -> None:
        """From here on in turn with the others who write to the same stdout."""
        log.configure_for(self._config, self._run_dir)

    def _start_fork_server(self) -> None:
        """The native front end has a channel to each fork server, which models' code cannot reach: it has no path."""
        channel = self._channel_for_fork_server() if self._config.native else None
        front = str(channel.fileno()) if channel else ""
        command = [
            sys.executable,
            "-m",
            "polyhost.container.forkserver",
            str(self._run_dir),
            "1",
            front,
            self._config.to_json(),
        ]
        try:
            # Its stdin ends when this process does, however that happens.
            self._fork_server = subprocess.Popen(
                command,
                env=frameworks.environment() | self._environment(),
                stdin=subprocess.PIPE,
                pass_fds=[channel.fileno()] if channel else [],
            )
        finally:
            if channel:
                channel.close()

    def _channel_for_fork_server(self) -> socket.socket:
        """Its end; the other goes to the front end."""
        theirs, front_ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        assert self._to_front_end is not None
        with front_ends, contextlib.suppress(OSError):  # the front end has ended, and the container ends with it
            socket.send_fds(self._to_front_end, [b"."], [front_ends.fileno()])
        return theirs

    def _start_native_front_end(self) -> None:
        self._to_front_end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "polyhost.container.native", str(theirs.fileno()), self._config.to_json()]
            self._front_end = subprocess.Popen(
                command,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                cwd=self._run_dir,
                pass_fds=[theirs.fileno()],
            )

    def _start_mms(self) -> None:
        from polyhost.container.mms.toolkit import (
            prepare_environment,  # only here: the native front end is up before it is read
        )

        environ = self._environment()
        prepare_environment(self._config, self._run_dir, environ)
        command = [sys.executable, "-m", "polyhost.container.mms.toolkit", str(self._run_dir), self._config.to_json()]
        self._front_end = subprocess.Popen(
            command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd=self._run_dir,
        )  # fmt: skip
        assert self._front_end.stdout is not None
        output = Lines(self._front_end.stdout.fileno())
        self._loop.watch(output, lambda: self._on_output(output))

    def _on_output(self, output: Lines) -> None:
        """Java, and what starts it, print plain lines now and then; the container's log has events only."""
        lines = output.read()
        if lines is None:
            self._loop.unwatch(output)
        for line in lines or ():
            if self._config.log_json and not line.startswith('{"'):
                logging.getLogger("mms").info("%s", line)
            else:
                log.write_all(1, line.encode() + b"\n")

    def _environment(self) -> dict[str, str]:
        root = str(Path(__file__).parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}

    def _on_stop(self) -> None:
        logger.info("stopping")
        self._loop.stop(0)

    def _on_children(self) -> None:
        self._reap_orphans()
        if self._front_end.poll() is not None:
            name = "the native front end" if self._config.native else "Multi Model Server"
            logger.error("%s has ended; the container ends with it", name)
            self._loop.stop(1)
        elif self._fork_server is not None and (status := self._fork_server.poll()) is not None:
            self._fork_server = None
            self._on_fork_server_end(status)

    def _reap_orphans(self) -> None:
        """What the dead leave behind is ours to reap; the two by name are left to Popen, which wants their status."""
        named = {process.pid for process in (self._fork_server, self._front_end) if process is not None}
        for pid in set(children()) - named:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass

    def _on_fork_server_end(self, status: int) -> None:
        now = time.monotonic()
        self._deaths = [*(death for death in self._deaths if now - death < _RESTARTS_WITHIN_S), now]
        if status == EXIT_MODEL_FAILED:
            logger.error("the container's only model cannot be loaded (the reason stands above); the container ends")
            self._loop.stop(1)
        elif len(self._deaths) > _RESTARTS:
            logger.error("the fork server ended %d times in a minute; the container ends", len(self._deaths))
            self._loop.stop(1)
        else:
            logger.error("the fork server ended (%s); another is started, loaded models serve on", status)
            self._loop.after(_RESTART_S, self._restart_fork_server)

    def _restart_fork_server(self) -> None:
        """Where there are no processes, memory or descriptors for it, it counts as a death; there may be some soon."""
        try:
            self._start_fork_server()
        except OSError as error:
            logger.error("the fork server cannot be started now: %s", error)
            self._loop.after(_RETRY_S, lambda: self._on_fork_server_end(1))

    def _let_finish(self) -> None:
        """The native front end answers what is running before it ends; the workers must live until then."""
        front_end = getattr(self, "_front_end", None)
        if self._config.native and front_end is not None and front_end.poll() is None:
            front_end.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                front_end.wait(self._config.finish_s + _FINISH_S)

    def _end_everything(self) -> None:
        """SIGTERM to all, SIGKILL to those that do not heed it, until no child is left, adopted ones included."""
        deadline = time.monotonic() + _STOP_S
        for number, until in ((signal.SIGTERM, deadline), (signal.SIGKILL, deadline + 2.0)):
            while (left := children()) and time.monotonic() < until:
                for pid in left:
                    _signal(pid, number)
                _wait_some(0.05)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _wait_some(seconds: float) -> None:
    """Reaps what has ended; pauses where nothing had."""
    try:
        if os.waitpid(-1, os.WNOHANG)[0] == 0:
            time.sleep(seconds)
    except ChildProcessError:
        pass


def _allow_many_files() -> None:
    """Each model costs the fork server five descriptors, and a shell's usual limit is 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
