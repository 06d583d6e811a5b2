"""Multi Model Server as the fork server sees it: launchers that ask for models, and ways to tell MMS of a failure."""

import contextlib
import logging
import os
import socket
import time
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from polyhost.container.errors import INSUFFICIENT_STORAGE, Failure
from polyhost.container.forkserver.orphans import Orphan
from polyhost.container.forkserver.records import HostedModel, WorkerRecord
from polyhost.container.mms.client import MmsClient
from polyhost.container.mms.launcher import FIFO, Launcher, drop_record, recorded
from polyhost.container.worker.protocol import COMPLETE_CODE

if TYPE_CHECKING:
    from polyhost.container.forkserver.server import ForkServer

_LEFTOVERS_S = 5.0
_DESERTED_S = 5.0
_DESERTED_ROUND_S = 0.5
_LOST_ROUND_S = 2.0
_SELDOM_S = 30.0
_LOSSES_AFTER_REFUSAL_S = 120.0

logger = logging.getLogger("polyhost.forkserver")


@dataclass(kw_only=True)
class LaunchedModel(HostedModel):
    """A model that MMS knows by its launcher, and connects to by a socket that it has named."""

    launcher: Launcher
    listener: socket.socket
    deserted: float | None = None  # since when its last worker is gone

    @property
    def code_in_place(self) -> int:
        return COMPLETE_CODE

    def failure_text(self, failure: Failure) -> str:
        return failure.message

    def close(self) -> None:
        super().close()
        self.listener.close()
        Path(self.launcher.arguments.socket_path).unlink(missing_ok=True)
        self.launcher.forget()


class MmsFront:
    def __init__(self, server: "ForkServer", port: int, run_dir: Path) -> None:
        self._server = server
        self._loop = server.loop
        self._run_dir = run_dir
        self._mms = MmsClient(server.loop, port)
        self._fifo_partial = b""
        self._models: dict[int, LaunchedModel] = {}
        self._unknown: set[str] = set()  # names that MMS had at the last look, and we had not
        self._look_until = 0.0
        self._looked = time.monotonic()

    def start(self) -> None:
        fifo = os.open(self._run_dir / FIFO, os.O_RDWR | os.O_NONBLOCK)  # as a writer too: never at its end
        self._loop.watch(fifo, lambda: self._on_fifo(fifo))
        self._drop_leftovers()
        for pid in recorded(self._run_dir):
            self._launch(pid)
            self._find_orphans(pid)
        self._loop.every(_DESERTED_ROUND_S, self._look_after_launchers)
        self._loop.every(_LOST_ROUND_S, self._look_for_lost_loads)

    def is_up(self) -> bool:
        return self._mms.is_up()

    def resize(self, model: HostedModel, workers: int) -> None:
        """Raises OSError where MMS takes no connection."""
        self._mms.resize(model.name, workers)

    def load_failed(self, worker: WorkerRecord, failure: Failure) -> None:
        """Lets MMS know, in the one of two ways that leaves no model registered.

        Hanging up: MMS answers 500 and unregisters the model. An answer: MMS passes its status on, which 507 needs, but
        then unregisters from the worker's own, interrupted thread. Should the launcher live then, the wait for its end
        throws, the clean-up counts as failed and the model stays: the platform's retry would get 409 for ever
        (WorkLoadManager.shutdownServerThread, ModelManager.unregisterModel). So the launcher is ended first.
        """
        if failure.code == INSUFFICIENT_STORAGE:
            self._look_until = time.monotonic() + _LOSSES_AFTER_REFUSAL_S
            self._server.keep_refused(worker)
            self._answer_when_noted(worker, failure, _launched(worker).launcher.kill_and_listen())
        else:
            self._server.release(worker)

    def gave_up(self, worker: WorkerRecord) -> None:
        """A further worker of a model that serves already could not be had."""
        self._server.resize(worker.model, len(worker.model.workers))

    def released(self, worker: WorkerRecord, reason: Failure | None) -> None:
        """MMS sees the hang-up itself, and cannot be told why."""
        model = _launched(worker)
        model.deserted = None if model.workers else time.monotonic()

    def started(self, worker: WorkerRecord, page: int) -> None:
        """MMS need not know."""

    def took(self, model: HostedModel, size: int) -> None:
        """Nor that."""

    def closed(self, model: HostedModel) -> None:
        self._loop.unwatch(self._models.pop(model.key).listener)

    def end_all(self) -> None:
        for model in self._models.values():
            model.launcher.kill()

    # Launchers

    def _drop_leftovers(self) -> None:
        """Files for MMS that a fork server before this one can no longer remove; MMS has opened them in a moment."""
        left = [path for path in (self._run_dir / "tmp").iterdir() if path.name.endswith(("-stdout", "-stderr"))]
        for path in left:
            self._loop.after(_LEFTOVERS_S, partial(path.unlink, missing_ok=True))

    def _find_orphans(self, launcher_pid: int) -> None:
        """What a fork server before this one has forked for the model: it is to end with the model."""
        if model := self._models.get(launcher_pid):
            model.orphans = Orphan.all_of(model.directory)

    def _on_fifo(self, fifo: int) -> None:
        *lines, self._fifo_partial = (self._fifo_partial + os.read(fifo, 65536)).split(b"\n")
        for line in lines:
            self._loop.after(0.0, partial(self._launch, int(line)))

    def _launch(self, pid: int) -> None:
        if pid in self._models:
            return
        try:
            launcher = Launcher(self._run_dir, pid)
        except (ProcessLookupError, FileNotFoundError):  # MMS gave up on it meanwhile
            drop_record(self._run_dir, pid)
            return
        try:
            self._host(launcher)
        except Exception as error:  # whatever it was, MMS must get an answer and the others must go on
            logger.exception("no socket for the model", extra={"model": launcher.arguments.model_name})
            launcher.complain(str(error))
            launcher.kill()
            launcher.forget()

    def _host(self, launcher: Launcher) -> None:
        arguments = launcher.arguments
        Path(arguments.socket_path).unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(arguments.socket_path)
        listener.listen()
        model = LaunchedModel(
            key=launcher.pid,
            name=arguments.model_name,
            directory=Path(arguments.model_path),
            handler=arguments.handler,
            temp_dir=self._server.make_temp_dir(launcher.pid),
            io_dir=arguments.temp_dir,
            framework=self._server.framework_of(arguments.model_path, arguments.handler),
            response_timeout_s=self._server.config.response_timeout_s,
            launcher=launcher,
            listener=listener,
        )
        self._models[launcher.pid] = model
        self._server.host(model)
        self._loop.watch(listener, lambda: self._server.connect(model, listener.accept()[0]))
        if launcher.pidfd is not None:
            self._loop.watch(launcher.pidfd, lambda: self._on_launcher_end(model))
        with contextlib.suppress(OSError):  # it has ended; its pidfd says so
            launcher.say_started()

    def _on_launcher_end(self, model: LaunchedModel) -> None:
        """MMS ends a model so; or somebody else did, and then the workers serve on until MMS hangs up."""
        if not model.let_go:
            self._loop.unwatch(model.launcher.pidfd)
            self._server.let_go(model)

    # Failed loads

    def _answer_when_noted(self, worker: WorkerRecord, failure: Failure, noted: int | None) -> None:
        if noted is None:
            worker.answer_load(failure)
            return

        def answer() -> None:
            self._loop.unwatch(noted)
            os.close(noted)
            if not worker.closed:  # MMS may have hung up first: its threads interrupt one another
                worker.answer_load(failure)

        self._loop.watch(noted, answer)

    # Now and then

    def _look_after_launchers(self) -> None:
        for model in list(self._models.values()):
            if model.launcher.pidfd is None and model.launcher.reaped:
                self._on_launcher_end(model)
            elif model.deserted and not model.workers and time.monotonic() - model.deserted > _DESERTED_S:
                model.deserted = time.monotonic()
                with contextlib.suppress(OSError):
                    self._mms.describe(model.name, partial(self._on_described, model))

    def _on_described(self, model: LaunchedModel, status: int | None) -> None:
        """Ends a launcher without workers that MMS knows no more.

        An unload that meets the end of a request can fail in MMS (NullPointerException in BatchAggregator.sendError)
        after the model is out of its list and before its launcher is ended.
        """
        if status == HTTPStatus.NOT_FOUND and not model.workers and not model.let_go:
            logger.warning("MMS has lost the model's launcher; ended", extra={"model": model.name})
            model.launcher.kill()

    def _look_for_lost_loads(self) -> None:
        """Unregisters models whose load MMS has lost, so that the next load of the name is not answered with 409.

        MMS's thread for a launcher goes back to a pool when the launcher ends, by a NullPointerException, so that it
        still counts as the launcher's; unregistering a refused model interrupts it, whatever it does by then. If it has
        just begun to start another model's launcher, that load gets 500 after a minute, and stays registered.

        So does one whose launcher could not be started, for want of processes: hence a look now and then in any case.
        """
        now = time.monotonic()
        if now < self._look_until or now - self._looked > _SELDOM_S:
            self._looked = now
            with contextlib.suppress(OSError):
                self._mms.names(self._on_names)

    def _on_names(self, names: set[str]) -> None:
        unknown = names - {model.name for model in self._models.values()}
        for name in unknown & self._unknown:
            logger.warning("MMS has lost a load; unregistered, so that the next one works", extra={"model": name})
            with contextlib.suppress(OSError):
                self._mms.unload(name)
        self._unknown = unknown


def _launched(worker: WorkerRecord) -> LaunchedModel:
    assert isinstance(worker.model, LaunchedModel)
    return worker.model
