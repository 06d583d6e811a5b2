"""The fork server: has a zygote fork a worker for each connection of the front end, and looks after the workers.

It imports no framework and is on no request's path: the front end talks to the workers itself. The fork server keeps a
copy of each connection and shares a status page with each worker, and steps in when one dies.
"""

import signal
import socket
import sys
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from polyhost.cgroup import ControlGroup
from polyhost.container import run_dir as run_directory
from polyhost.container.config import Config
from polyhost.container.control_protocol import Channel, Started
from polyhost.container.errors import (
    EXIT_MODEL_FAILED,
    Failure,
)
from polyhost.container.forkserver.attempts import Attempts
from polyhost.container.forkserver.connections import Connections
from polyhost.container.forkserver.deadlines import Deadlines
from polyhost.container.forkserver.exits import ExitHandler
from polyhost.container.forkserver.first_models import FirstZygotes
from polyhost.container.forkserver.front_end import MakeFrontEnd
from polyhost.container.forkserver.gpus import GpuGauge
from polyhost.container.forkserver.loader import Loader
from polyhost.container.forkserver.model_layers import ModelLayers
from polyhost.container.forkserver.model_users import ModelUsers
from polyhost.container.forkserver.reaper import Reaper
from polyhost.container.forkserver.records import HostedModel, ModelLifecycle, WorkerLifecycle, WorkerRecord
from polyhost.container.forkserver.scaler import Scaler, loads_of
from polyhost.container.forkserver.temp_folders import TempFolderEnds, TempFolders
from polyhost.container.forkserver.trash import Trash
from polyhost.container.forkserver.worker_logs import WorkerLogs
from polyhost.container.forkserver.workers import Workers
from polyhost.container.forkserver.zygote.pool import ForkEvents, ZygotePool
from polyhost.container.log import LogDescriptors
from polyhost.container.memory.admission import AdmissionControl
from polyhost.container.memory.gauge import MemoryGauge
from polyhost.container.memory.oom import OomKills
from polyhost.container.system.event_loop import EventLoop
from polyhost.container.system.heartbeats import send_heartbeats
from polyhost.container.system.prctl import become_subreaper
from polyhost.events import get_logger
from polyhost.handlers import frameworks, lookup
from polyhost.handlers.frameworks import BARE
from polyhost.handlers.settings import Settings

_ROUND_S = 0.5  # between two checks of deadlines, load and memory
_OOM_ROUND_S = 5.0  # upper bound of the time from the OOM killer's choice to the exit of a big process

logger = get_logger(__name__)


class ForkServer:
    """The parts of the fork server, put together; and the `Host` of the front end's adapter."""

    def __init__(
        self,
        config: Config,
        loop: EventLoop,
        run_dir: Path,
        log_descriptors: LogDescriptors,
        log_collector: Channel,
        make_front_end: MakeFrontEnd,
        index: int | None = None,
    ) -> None:
        """`make_front_end` gets this object as its host; see `Host` for when it may use it.

        `index`: a descriptor with the variables that say where packages come from (layers/index.py).
        """
        self._config = config
        self._loop = loop
        self._run_dir = run_dir
        self._models: dict[int, HostedModel] = {}  # by the front end's key
        self._attempts = Attempts(run_dir / "attempts")
        self._trash = Trash(run_dir / "trash")
        self._users = ModelUsers(config.model_uids)
        self._supervisor_died = False
        self._handler_settings = Settings.of_process()
        self._gauge = MemoryGauge(ControlGroup.current())
        self._admission = AdmissionControl(self._gauge, config)
        self._oom_kills = OomKills(self._gauge.oom_kills)
        self._front_end = make_front_end(self)
        events = ForkEvents(self._on_started, self._on_exited, self._on_fork_failed)
        self._zygotes = ZygotePool(loop, config, frameworks.zygote_steps(), run_dir, log_descriptors, events)
        connections = Connections(loop, self._on_hang_up)
        self._logs = WorkerLogs(loop, log_collector, lambda: self._workers)
        self._workers = Workers(
            self._front_end, self._zygotes, connections, self._logs.watch, self._close_if_last_worker_ended
        )
        self._exits = ExitHandler(
            self._workers, self._front_end, self._oom_kills, None if config.multi_model else self._on_only_model_failed
        )
        self._layers = ModelLayers(loop, config, run_dir, log_descriptors, index)
        self._loader = Loader(
            self._models,
            self._workers,
            self._admission,
            GpuGauge(config.visible_gpus),
            self._layers,
            self._exits.on_load_failed,
        )
        self._deadlines = Deadlines(self._models, self._workers, config.load_timeout_s, self._on_exited)
        self._reaper = Reaper(self._models, self._workers, self._zygotes, self._on_exited)
        temp_folder_ends = TempFolderEnds(config.worker_temp_bytes, self._reaper, self._trash)
        self._temp_folders = TempFolders(config.worker_temp_bytes, self._models, temp_folder_ends.on_exceeded)
        self._first_zygotes = FirstZygotes(
            config, loop, self._zygotes, self._front_end, self._attempts, self._framework_in, self._gauge
        )
        self._scaler = Scaler(
            config.max_workers,
            _ROUND_S,
            self._resize_by_name,
            self._front_end.busy_rounds,
            self._front_end.idle_share,
        )

    def run(self) -> int:
        """Serve until SIGTERM, or until the supervisor or what this container depends on has ended."""
        become_subreaper()  # the workers of a zygote that dies become our children
        self._loop.on_signals(
            {signal.SIGCHLD: self._reaper.on_children, signal.SIGTERM: lambda: self._loop.stop(0)},
            ignored=(signal.SIGINT,),
        )
        self._first_zygotes.start()
        self._loop.watch(sys.stdin, self._on_supervisor_died)
        send_heartbeats(self._loop, sys.stdin.fileno())
        self._front_end.start()
        for duty in (
            self._deadlines.check,
            self._deadlines.check_survivors,
            self._reaper.reap_leftovers,
            self._trash.check,
            self._users.check,
            self._temp_folders.check,
            self._layers.check,
            self._zygotes.check,
            self._measure,
            self._scale,
        ):
            self._loop.every(_ROUND_S, duty)
        self._loop.every(_OOM_ROUND_S, self._oom_kills.expire)
        status = self._loop.run()
        self._close()
        return status

    def _on_supervisor_died(self) -> None:
        """Stop everything on behalf of the supervisor, which held the other end of stdin and has been killed."""
        self._front_end.on_supervisor_died()
        self._supervisor_died = True
        self._loop.stop(1)

    def _on_only_model_failed(self, failure: Failure) -> None:
        logger.error("the only model of this container cannot be loaded: %s", failure.message)
        self._loop.stop(EXIT_MODEL_FAILED)

    def _close(self) -> None:
        self._admission.save()
        self._layers.close()
        self._workers.kill_all()
        self._zygotes.kill()
        if self._supervisor_died:
            run_directory.remove(self._run_dir)

    # Host

    def attempt(self, key: int) -> AbstractContextManager[None]:
        """Open a model in the block that this manages. Raises ForkServerDiedError if two have died in it."""
        return self._attempts.attempt(key)

    def framework_of(self, directory: str, handler: str) -> str:
        """Return the framework whose zygote is to fork the model's workers."""
        settings = self._handler_settings
        return lookup.framework_of(Path(directory), self._config.handler, settings, requested=handler) or BARE

    def _framework_in(self, folder: Path) -> str:
        return self.framework_of(str(folder), "")

    def make_temp_dir(self, key: int) -> Path:
        """Create a model's temp folder. Raises OSError."""
        folder = self._run_dir / "tmp" / f"model-{key}"
        folder.mkdir(mode=0o700, exist_ok=True)  # it exists if a fork server before this one has made it
        return folder

    def add_model(self, model: HostedModel) -> None:
        """Take note of a model that the front end loads, and of its files before its code can add to them.

        Raises OSError if it is to have a user of its own and all are in use.
        """
        self._users.claim(model)
        model.fingerprint = self._admission.fingerprint(model.framework, model.directory)
        self._layers.take_over(model)
        self._models[model.key] = model

    def add_worker(self, model: HostedModel, connection: socket.socket, number: int = 0) -> None:
        """Have a worker serve the connection; takes the socket over."""
        self._loader.load(model, connection, number)

    def add_survivor(self, model: HostedModel, connection: socket.socket, number: int, page: int, pid: int) -> None:
        """Watch a worker that outlived its fork server; takes the socket over."""
        self._workers.add_survivor(model, connection, number, page, pid)

    def close_model(self, model: HostedModel) -> None:
        """Close the model as soon as its last worker has ended."""
        if model.is_open:
            model.enter(ModelLifecycle.CLOSING)
            self._close_if_last_worker_ended(model)

    def hold_rejected(self, worker: WorkerRecord) -> None:
        """Keep the connection of a rejected load open until the front end hangs up."""
        self._workers.hold_rejected(worker)

    def release(self, worker: WorkerRecord) -> None:
        """Close the worker's connection and everything else that is held for it."""
        self._workers.release(worker)

    def resize(self, model: HostedModel, workers: int) -> None:
        """Have the front end change the number of the model's workers."""
        logger.info("resizing to %d workers", workers, extra={"model": model.name})
        try:
            self._front_end.resize(model, workers)
        except OSError as error:
            logger.warning("cannot change the number of workers: %s", error, extra={"model": model.name})

    # Events

    def _on_started(self, message: Started, smaps: int | None) -> None:
        self._workers.on_started(message, smaps)

    def _on_exited(self, sequence: int, wait_status: int) -> None:
        if worker := self._workers.find(sequence):
            self._logs.drain(worker, partial(self._exits.on_exited, sequence, wait_status))

    def _on_fork_failed(self, sequence: int, reason: str, status: int) -> None:
        self._exits.on_fork_failed(sequence, reason, status)

    def _on_hang_up(self, worker: WorkerRecord) -> None:
        """Kill the worker: an idle one sees the hang-up itself, and a busy one must not delay the unload."""
        if worker.lifecycle is WorkerLifecycle.REJECTED:
            self._workers.release(worker)
        elif worker.lifecycle is WorkerLifecycle.NEW:
            self._loader.give_up(worker)
        else:
            worker.kill()

    def _close_if_last_worker_ended(self, model: HostedModel) -> None:
        if model.can_be_closed:
            del self._models[model.key]
            self._layers.release(model)
            self._users.release(model, self._reaper.has_leftovers)
            self._reaper.kill_leftovers()
            model.close()
            self._trash.add(model.temp_dir)
            self._front_end.on_model_closed(model)

    # Rounds

    def _measure(self) -> None:
        for worker, size in self._admission.measure(list(self._workers)):
            self._front_end.on_memory_measured(worker.model, size)

    def _scale(self) -> None:
        """Resize models by their load, unless the settings say how many workers there are."""
        if self._config.workers is None and self._config.multi_model:
            self._scaler.round(loads_of(self._models.values()))

    def _resize_by_name(self, name: str, workers: int) -> None:
        for model in self._models.values():
            if model.name == name and model.is_open:
                self.resize(model, workers)
                break
