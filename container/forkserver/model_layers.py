"""The packages that models' archives ask for: found among the layers at once, or made by a builder, a process apart.

The fork server itself reads a requirement file of 64 kB at most and looks up its digest. All else is the builder's:
reading wheels, resolving, installing, removing (container/layers). Only the loads that need a layer wait for it.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from polyhost.container.config import Config
from polyhost.container.control_protocol import Channel, LayerFailed, LayerReady
from polyhost.container.errors import INSUFFICIENT_STORAGE, Failure
from polyhost.container.forkserver.records import HostedModel, LayerRef, WorkerRecord
from polyhost.container.layers.context import context
from polyhost.container.layers.image import Image
from polyhost.container.layers.index import read as read_index
from polyhost.container.layers.needs import Needs
from polyhost.container.layers.store import Hold, Layer, LayerStore
from polyhost.container.log import LogDescriptors
from polyhost.container.system.event_loop import EventLoop
from polyhost.events import get_logger

RECORDS = "layers-in-use"  # folder in the run folder: the key of each model's layer, for the next fork server
_MODULE = "polyhost.container.layers"
_MOST_AT_ONCE = 4  # builders
_GRACE_S = 5.0  # for a builder to end at its own deadline
_CHANNEL_S = 5.0

logger = get_logger(__name__)

OnFailed = Callable[[Failure], None]


@dataclass(frozen=True)
class _Waiting:
    """A worker whose load waits."""

    worker: WorkerRecord
    on_ready: Callable[[], None]
    on_failed: OnFailed


@dataclass
class _Job:
    """A layer that is being made, or waits for a builder. Whoever needs the same waits for the same job."""

    name: str  # the digest of what is needed or, where that is not known without reading wheels, the model's
    model: HostedModel
    deadline: float
    waiting: list[_Waiting] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    channel: Channel | None = None


class ModelLayers:
    """Gives each model its layer, and holds the layers of open models."""

    def __init__(
        self,
        loop: EventLoop,
        config: Config,
        run_dir: Path,
        log_descriptors: LogDescriptors,
        index: int | None,
    ) -> None:
        """`index`: a descriptor with the variables that say where packages come from (layers/index.py)."""
        self._loop = loop
        self._config = config
        self._run_dir = run_dir
        self._log_descriptors = log_descriptors
        self._index = index
        self._store = LayerStore(Path(config.layers_dir)) if config.layers_dir else None
        self._holds: dict[int, Hold] = {}  # by the model's key
        self._jobs: dict[str, _Job] = {}
        self._queue: deque[_Job] = deque()

    @cached_property
    def _context(self) -> str:
        variables = read_index(self._index) if self._index is not None else {}
        return context(self._config.requirements, Image.of_process(), variables)

    # Models

    def take_over(self, model: HostedModel) -> None:
        """Give the model the layer that a fork server before this one has given it, if it was to have one."""
        if self._store is None:
            return
        with contextlib.suppress(OSError):
            key, _, directory = (self._run_dir / RECORDS / str(model.key)).read_text().partition("\n")
            if directory == str(model.directory):  # or the number is another model's now
                self._hold(model, key)

    def provide(self, worker: WorkerRecord, on_ready: Callable[[], None], on_failed: OnFailed) -> None:
        """Call `on_ready` once the model of this new worker has its layer, at once if it needs none."""
        model, store = worker.model, self._store
        if store is None or model.layer is not None:
            on_ready()
            return
        try:
            needs = Needs.of(model.directory)
            digest = needs.digest(self._context) if needs else None
            if needs is None or (digest and (key := store.key_for(digest)) and self._hold(model, key)):
                on_ready()
                return
        except OSError as error:
            on_failed(Failure.of(error, model.name, "load"))
            return
        self._wait(digest or f"model {model.key}", _Waiting(worker, on_ready, on_failed))

    def cancel(self, worker: WorkerRecord) -> None:
        """Forget a worker whose front end has hung up. A builder that nobody waits for any more is killed."""
        for job in list(self._jobs.values()):
            job.waiting = [item for item in job.waiting if item.worker is not worker]
            if not job.waiting:
                self._end(job)

    def release(self, model: HostedModel) -> None:
        """Let go of a closed model's layer."""
        if hold := self._holds.pop(model.key, None):
            hold.close()
            with contextlib.suppress(OSError):
                (self._run_dir / RECORDS / str(model.key)).unlink()

    def check(self) -> None:
        """Give up the builders that have not ended in time; to be called now and then."""
        for job in list(self._jobs.values()):
            if time.monotonic() > job.deadline + _GRACE_S:
                seconds = self._config.requirements_s
                message = f"the packages were not installed within {seconds} s (POLYHOST_REQUIREMENTS_SECONDS)"
                self._fail(job, message, 500)

    def close(self) -> None:
        """Kill all builders."""
        for job in list(self._jobs.values()):
            self._end(job)

    def _hold(self, model: HostedModel, key: str, hold: Hold | None = None) -> bool:
        """Give the model a layer; return False if it does not exist. `hold`: what a builder has handed over."""
        assert self._store is not None
        if hold is None:
            found = self._store.hold(key)
            if found is None:
                return False
            layer, hold = found
        else:
            layer = self._store.find(key) or Layer(key, (), 0)
        self.release(model)
        self._holds[model.key] = hold
        model.layer = LayerRef(str(self._store.site(key)), layer.isolated)
        folder = self._run_dir / RECORDS
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / str(model.key)).write_text(f"{key}\n{model.directory}")
        return True

    # Builders

    def _wait(self, name: str, waiting: _Waiting) -> None:
        job = self._jobs.get(name)
        if job is None:
            job = _Job(name, waiting.worker.model, time.monotonic() + self._config.requirements_s)
            self._jobs[name] = job
            self._queue.append(job)
        job.waiting.append(waiting)
        self._start_next()

    def _start_next(self) -> None:
        running = sum(job.process is not None for job in self._jobs.values())
        while self._queue and running < _MOST_AT_ONCE:
            job = self._queue.popleft()
            try:
                self._start(job)
                running += 1
            except OSError as error:
                self._fail(job, f"no process can be started to install packages: {error}", INSUFFICIENT_STORAGE)

    def _start(self, job: _Job) -> None:
        ours, theirs = Channel.pair()
        inherited = [theirs.fileno(), *self._log_descriptors.inherited]
        if self._index is not None:
            inherited.append(self._index)
        seconds = max(1.0, job.deadline - time.monotonic())
        command = [sys.executable, "-m", _MODULE, job.model.name, str(job.model.directory), f"{seconds:.1f}"]
        command += [str(self._run_dir), *map(str, self._log_descriptors), str(theirs.fileno())]
        command += [str(-1 if self._index is None else self._index), self._config.to_json()]
        try:
            with theirs.socket:
                job.process = subprocess.Popen(
                    command, pass_fds=inherited, stdin=subprocess.DEVNULL, start_new_session=True
                )
        except OSError:
            ours.close()
            raise
        job.channel = ours
        ours.socket.settimeout(_CHANNEL_S)
        self._loop.watch(ours, partial(self._on_message, job))

    def _on_message(self, job: _Job) -> None:
        assert job.channel is not None
        try:
            received = job.channel.receive()
        except OSError:
            received = None
        match received:
            case (LayerReady() as ready, [descriptor]):
                self._on_made(job, ready, Hold(descriptor))
            case (LayerFailed(failure=failure), []):
                self._fail(job, failure.message, failure.code, failure.type)
            case _:
                self._fail(job, "the process that installs packages has died; the log may say why", 500)

    def _on_made(self, job: _Job, ready: LayerReady, hold: Hold) -> None:
        for item in self._end(job):
            model = item.worker.model
            try:
                if model.layer is None:
                    self._hold(model, ready.key, Hold(os.dup(hold.descriptor)))
            except OSError as error:
                item.on_failed(Failure.of(error, model.name, "load"))
            else:
                item.worker.on_waited()
                item.on_ready()
        hold.close()

    def _fail(self, job: _Job, message: str, code: int, type_: str = "InstallationError") -> None:
        for item in self._end(job):
            model = item.worker.model
            text = f"the archive's packages cannot be installed: {message}"
            logger.error("%s", text, extra={"model": model.name, "phase": "load"})
            item.on_failed(Failure(code, type_, text, model.name, "load"))

    def _end(self, job: _Job) -> list[_Waiting]:
        """Forget the job, kill its builder if there still is one, and return who waited."""
        self._jobs.pop(job.name, None)
        if job in self._queue:
            self._queue.remove(job)
        if job.channel is not None:
            self._loop.unwatch(job.channel)
            job.channel.close()
        if job.process is not None and job.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(job.process.pid, signal.SIGKILL)
        waiting, job.waiting = job.waiting, []
        self._loop.after(0.0, self._start_next)
        return waiting
