"""The fork server's side of Multi Model Server: launchers ask for models, and failures are reported to MMS.

The life of a model here: MMS starts a launcher, which writes its pid to a FIFO. The adapter listens on the socket that
MMS has named and reports the launcher as started; MMS connects, once for each worker. When MMS unloads the model, it
kills the launcher and closes the connections; the launcher's pidfd tells. How a load is failed: failed_load.py.
"""

import contextlib
import os
import socket
import struct
import time
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path

from polyhost.container.config import Config
from polyhost.container.control_protocol import ModelRef
from polyhost.container.errors import INSUFFICIENT_STORAGE, Failure
from polyhost.container.forkserver.front_end import Host
from polyhost.container.forkserver.records import HostedModel, WorkerRecord
from polyhost.container.forkserver.survivors import Survivor
from polyhost.container.mms.client import MmsClient
from polyhost.container.mms.failed_load import RejectedLoad
from polyhost.container.mms.launcher import FIFO, Launcher, recorded_pids, remove_record
from polyhost.container.mms.lost_loads import LostLoads
from polyhost.container.mms.netty_threads import NettyThreads
from polyhost.container.system.event_loop import EventLoop
from polyhost.container.system.line_reader import LineReader
from polyhost.container.worker.protocol import COMPLETE_CODE
from polyhost.events import get_logger

_OLD_IO_FILES_S = 5.0
_DESERTED_S = 5.0
_DESERTED_ROUND_S = 0.5
_LOST_LOADS_ROUND_S = 2.0
_CREDENTIALS = struct.Struct("iII")  # ucred: process, user, group

logger = get_logger(__name__)


@dataclass(kw_only=True)
class LaunchedModel(HostedModel):
    """A model that has a launcher in MMS, and a socket to which MMS connects for each worker."""

    launcher: Launcher
    listener: socket.socket
    deserted_since: float | None = None  # when its last worker ended
    stranger_logged: bool = False

    def close(self) -> None:
        """Close the socket and the launcher's record as well."""
        super().close()
        self.listener.close()
        Path(self.launcher.arguments.socket_path).unlink(missing_ok=True)
        self.launcher.close()


class MmsAdapter:
    """Adapter of MMS. A model's key is the pid of its launcher."""

    busy_rounds = 2  # another worker costs MMS a thread and a launcher
    idle_share = 0.0  # MMS fails the invocation of a worker that it stops: 500, "Worker died." (WorkerThread.java)
    extended_protocol = False
    substitute_code = COMPLETE_CODE

    def __init__(self, host: Host, loop: EventLoop, config: Config, run_dir: Path) -> None:
        self._host = host
        self._loop = loop
        self._response_timeout_s = config.response_timeout_s
        self._run_dir = run_dir
        self._mms = MmsClient(loop, config.port)
        self._netty_threads = NettyThreads(loop, self._mms, config.netty_threads)
        self._models: dict[int, LaunchedModel] = {}
        self._lost_loads = LostLoads(self._mms, lambda: {model.name for model in self._models.values()})

    def start(self) -> None:
        """Begin to accept launchers, first those that asked a fork server before this one."""
        # Open for writing too, so that the FIFO is never at its end.
        fifo = LineReader(os.open(self._run_dir / FIFO, os.O_RDWR | os.O_NONBLOCK))
        self._loop.watch(fifo, lambda: self._on_fifo(fifo))
        self._remove_old_io_files()
        for pid in recorded_pids(self._run_dir):
            self._accept(pid)
            if model := self._models.get(pid):
                model.survivors = Survivor.find(model.directory)  # they are to end with the model
        self._netty_threads.start()
        self._loop.every(_DESERTED_ROUND_S, self._check_launchers)
        self._loop.every(_LOST_LOADS_ROUND_S, self._lost_loads.check)

    def _remove_old_io_files(self) -> None:
        """Remove the files that a fork server before this one has made for MMS, once MMS has opened them."""
        old = [path for path in (self._run_dir / "tmp").iterdir() if path.name.endswith(("-stdout", "-stderr"))]
        for path in old:
            self._loop.after(_OLD_IO_FILES_S, partial(path.unlink, missing_ok=True))

    def is_up(self) -> bool:
        """Return whether MMS accepts connections."""
        return self._mms.is_up()

    # Events, for MMS

    def resize(self, model: HostedModel, workers: int) -> None:
        """Set the number of MMS's worker threads for the model. Raises OSError if MMS accepts no connection."""
        self._mms.resize(model.name, workers)

    def on_started(self, worker: WorkerRecord) -> None:
        """Do nothing: MMS knows the launcher, not the worker."""

    def on_load_failed(self, worker: WorkerRecord, failure: Failure) -> None:
        """Fail the load in the one of two ways that leaves no model registered (failed_load.py)."""
        if failure.code == INSUFFICIENT_STORAGE:
            self._lost_loads.on_rejected()
            RejectedLoad(self._loop, worker, failure).start(self._host, _launched(worker).launcher)
        else:
            self._host.release(worker)

    def on_extra_worker_failed(self, worker: WorkerRecord) -> None:
        """Reduce the number of MMS's worker threads to the workers that there are."""
        self._host.resize(worker.model, len(worker.model.workers))

    def on_released(self, worker: WorkerRecord, reason: Failure | None) -> None:
        """Note when the model's last worker ended. MMS sees the hang-up itself; a reason cannot be sent to it."""
        model = _launched(worker)
        model.deserted_since = None if model.workers else time.monotonic()

    def on_memory_measured(self, model: HostedModel, size: int) -> None:
        """Do nothing: MMS does not track memory per model."""

    def on_model_closed(self, model: HostedModel) -> None:
        """Stop listening for MMS's connections."""
        self._loop.unwatch(self._models.pop(model.key).listener)

    def on_supervisor_died(self) -> None:
        """Kill the launchers: they are Java's children and sleep for ever."""
        for model in self._models.values():
            model.launcher.kill()

    # Launchers

    def _on_fifo(self, fifo: LineReader) -> None:
        for line in fifo.read() or ():
            self._loop.after(0.0, partial(self._accept, int(line)))

    def _accept(self, pid: int) -> None:
        if pid in self._models:
            return
        try:
            launcher = Launcher(self._run_dir, pid)
        except (ProcessLookupError, FileNotFoundError):  # MMS has killed it already
            remove_record(self._run_dir, pid)
            return
        try:
            with self._host.attempt(pid):
                self._add_model(launcher)
        except Exception as error:  # MMS must get a response in any case, and the other models must not be affected
            logger.exception("cannot listen for the model", extra={"model": launcher.arguments.model_name})
            launcher.report_error(str(error))
            launcher.kill()
            launcher.close()
            Path(launcher.arguments.socket_path).unlink(missing_ok=True)

    def _add_model(self, launcher: Launcher) -> None:
        arguments = launcher.arguments
        Path(arguments.socket_path).unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(arguments.socket_path)
        listener.listen()
        model = LaunchedModel(
            key=launcher.pid,
            ref=ModelRef(arguments.model_name, arguments.model_path, arguments.handler),
            temp_dir=self._host.make_temp_dir(launcher.pid),
            io_dir=arguments.temp_dir,
            framework=self._host.framework_of(arguments.model_path, arguments.handler),
            response_timeout_s=self._response_timeout_s,
            launcher=launcher,
            listener=listener,
        )
        self._host.add_model(model)
        self._models[launcher.pid] = model
        self._loop.watch(listener, lambda: self._on_connection(model))
        if launcher.pidfd is not None:
            self._loop.watch(launcher.pidfd, lambda: self._on_launcher_ended(model))
        with contextlib.suppress(OSError):  # it has ended; its pidfd reports that
            launcher.report_started()

    def _on_connection(self, model: LaunchedModel) -> None:
        """Take a connection of MMS's. A model's code can reach the socket too: Landlock has no right for its path."""
        connection, _ = model.listener.accept()
        if (peer := _peer(connection)) == model.launcher.java:
            self._host.add_worker(model, connection)
            return
        connection.close()
        if not model.stranger_logged:
            model.stranger_logged = True
            message = "closed a connection to the model's socket: process %d is not Multi Model Server"
            logger.warning(message, peer, extra={"model": model.name})

    def _on_launcher_ended(self, model: LaunchedModel) -> None:
        """Close the model: MMS has unloaded it. If something else killed the launcher, the workers serve on.

        They do so until MMS closes their connections.
        """
        if model.is_open:
            self._loop.unwatch(model.launcher.pidfd)
            self._host.close_model(model)

    def _check_launchers(self) -> None:
        """Look for launchers that ended and have no pidfd, and for those that MMS may have lost."""
        for model in list(self._models.values()):
            since = model.deserted_since
            if model.launcher.pidfd is None and model.launcher.is_reaped:
                self._on_launcher_ended(model)
            elif since and not model.workers and time.monotonic() - since > _DESERTED_S:
                model.deserted_since = time.monotonic()
                with contextlib.suppress(OSError):
                    self._mms.describe(model.name, partial(self._on_described, model))

    def _on_described(self, model: LaunchedModel, status: int | None) -> None:
        """Kill a launcher without workers whose model is not registered in MMS any more.

        An unload that coincides with the end of a request can fail in MMS (NullPointerException in
        BatchAggregator.sendError), when the model has left its list and its launcher has not been killed yet.
        """
        if status == HTTPStatus.NOT_FOUND and not model.workers and model.is_open:
            logger.warning("MMS has lost the model's launcher; killed it", extra={"model": model.name})
            model.launcher.kill()


def _peer(connection: socket.socket) -> int:
    """Return the process that has connected (unix(7), SO_PEERCRED)."""
    pid, _, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(pid)


def _launched(worker: WorkerRecord) -> LaunchedModel:
    assert isinstance(worker.model, LaunchedModel)
    return worker.model
