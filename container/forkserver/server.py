"""The fork server: answers a front end's requests with forks of the zygotes, and watches over what it has made.

It imports no framework and is never on a request's path: the front end talks to the workers itself. It keeps a copy of
each connection and shares a status page with each worker, and steps in when one dies.
"""

import contextlib
import ctypes
import itertools
import logging
import os
import select
import shutil
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Protocol

from polyhost.cgroup import ControlGroup
from polyhost.container.config import Config
from polyhost.container.control_protocol import ForkRequest, ModelRef
from polyhost.container.errors import EXIT_MODEL_FAILED, INSUFFICIENT_STORAGE, Failure, WorkerDiedError
from polyhost.container.forkserver.exit_status import explain_death
from polyhost.container.forkserver.gpus import GpuGauge, choose
from polyhost.container.forkserver.records import HostedModel, WorkerRecord
from polyhost.container.forkserver.scaler import Load, Scaler
from polyhost.container.forkserver.zygote_pool import Events, ZygotePool
from polyhost.container.memory.admission import Admission, AdmissionControl
from polyhost.container.memory.gauge import MemoryGauge
from polyhost.container.memory.oom import OomKills
from polyhost.container.mms.adapter import MmsFront
from polyhost.container.native.adapter import NativeFront
from polyhost.container.system.event_loop import Loop
from polyhost.container.system.line_reader import Lines
from polyhost.container.system.procfs import children, mark_of, with_descendants
from polyhost.container.worker.process import EXIT_BACKOFF_OVER
from polyhost.container.worker.status_page import StatusPage, WorkerState
from polyhost.handlers import frameworks, lookup
from polyhost.handlers.frameworks import BARE
from polyhost.handlers.settings import Settings

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_ZYGOTES_WAIT_S, _ZYGOTES_POLL_S = 10.0, 0.05
_ROUND_S = 0.5  # deadlines, load, and what models take
_OOM_ROUND_S = 5.0  # so long may a big process take from the kernel's choice to its end
_PATIENT_DEATHS = 2
_MAX_REST_S = 60.0
_OUTPUT_BYTES, _OUTPUT_PAUSE = 4096, 4.0  # at a time; times what it took
_REMOVALS, _REMOVAL_S = 60, 0.05
_NAMES_IN_LOG, _NAMES_IN_ANSWER = 50, 20
_MID_MESSAGE = (WorkerState.READING, WorkerState.RESPONDING, WorkerState.STREAMING)
_STREAM_S = 480.0  # SageMaker's limit for a streamed response (Model Hosting FAQs)

logger = logging.getLogger("polyhost.forkserver")


class Front(Protocol):
    """A front end as the fork server sees it: it asks for workers of models, and is told what becomes of them."""

    def start(self) -> None: ...

    def is_up(self) -> bool: ...

    def resize(self, model: HostedModel, workers: int) -> None:
        """Asks it for so many connections. Raises OSError where it cannot be asked."""

    def load_failed(self, worker: WorkerRecord, failure: Failure) -> None:
        """The first load of a model: answers, so that nothing is left registered, and releases the worker."""

    def gave_up(self, worker: WorkerRecord) -> None:
        """A further worker of a model that serves could not be had, and is released."""

    def started(self, worker: WorkerRecord, page: int) -> None: ...

    def released(self, worker: WorkerRecord, reason: Failure | None) -> None:
        """`reason`: why the fork server hung up, where it did so in the middle of a message."""

    def took(self, model: HostedModel, size: int) -> None: ...

    def closed(self, model: HostedModel) -> None:
        """No process and no file is left of it."""

    def end_all(self) -> None:
        """The supervisor has been killed: ends what nobody else would."""


class ForkServer:
    def __init__(self, config: Config, run_dir: Path, log_descriptor: int, front_descriptor: int | None) -> None:
        """`front_descriptor`: the native front end's channel; None where Multi Model Server is the front end."""
        self.config = config
        self.loop = Loop()
        self._run_dir = run_dir
        self._log_descriptor = log_descriptor
        self._hang_ups = select.epoll()  # the connections that the front end may close, watched for nothing else
        self._connections: dict[int, WorkerRecord] = {}  # by descriptor
        self._models: dict[int, HostedModel] = {}  # by the front end's key
        self._workers: dict[int, WorkerRecord] = {}  # by sequence
        self._sequences = itertools.count(1)
        gauge = MemoryGauge(ControlGroup.current())
        self._admission = AdmissionControl(gauge, config)
        self._oom_kills = OomKills(gauge.oom_kills)
        self._gpus = GpuGauge(config.visible_gpus)
        self._orphaned = False  # the supervisor, which would remove the run folder, has been killed
        self._native = front_descriptor is not None
        self._front: Front = (
            MmsFront(self, config.port, run_dir) if front_descriptor is None else NativeFront(self, front_descriptor)
        )
        self._handler_settings = Settings.of_process()
        self._pool: ZygotePool

    def run(self) -> int:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)  # the workers of a zygote that dies become ours
        self.loop.on_signals(
            {signal.SIGCHLD: self._on_children, signal.SIGTERM: lambda: self.loop.stop(0)}, ignored=(signal.SIGINT,)
        )
        events = Events(self._on_started, self._on_exit, self._on_fork_failed)
        self._pool = ZygotePool(
            self.loop, self.config, frameworks.zygote_steps(), self._run_dir, self._log_descriptor, events
        )
        self._start_zygotes(time.monotonic() + _ZYGOTES_WAIT_S)
        self.loop.watch(self._hang_ups, self._on_hang_ups)
        self.loop.watch(sys.stdin, self._on_supervisor_end)
        self._front.start()
        # A worker more costs MMS a thread and a launcher, the native front end nothing.
        busy_rounds = 1 if self._native else 2
        scaler = Scaler(self.config.max_workers, _ROUND_S, self._resize_by_name, busy_rounds)
        for duty in (
            self._check_deadlines,
            self._check_orphans,
            self._reap_strays,
            self._measure,
            lambda: scaler.round(self._loads()),
        ):
            self.loop.every(_ROUND_S, duty)
        self.loop.every(_OOM_ROUND_S, self._oom_kills.expire)
        status = self.loop.run()
        self._stop()
        return status

    def _start_zygotes(self, deadline: float) -> None:
        """When the front end is up: until then it needs the cores, and the platform waits for its /ping."""
        if self._front.is_up() or time.monotonic() > deadline:
            self._pool.start()
        else:
            self.loop.after(_ZYGOTES_POLL_S, partial(self._start_zygotes, deadline))

    def _on_supervisor_end(self) -> None:
        """The supervisor holds the other end of stdin, and has been killed: end what it can no longer end."""
        self._front.end_all()
        self._orphaned = True
        self.loop.stop(1)

    # For the front end

    def framework_of(self, directory: str, handler: str) -> str:
        return lookup.framework_of(Path(directory), handler, self._handler_settings) or BARE

    def make_temp_dir(self, key: int) -> Path:
        folder = self._run_dir / "tmp" / f"model-{key}"
        folder.mkdir(mode=0o700, exist_ok=True)  # it exists where another fork server has made it and died
        return folder

    def host(self, model: HostedModel) -> None:
        self._models[model.key] = model

    def connect(self, model: HostedModel, connection: socket.socket, link: int = 0) -> None:
        """A worker for a connection on which the model's load command comes; takes the connection over."""
        loading = [worker.need for worker in self._workers.values() if worker.loading]
        admission = self._admission.decide(model.fingerprint, loading)
        model.need = admission.need
        worker = self._new_worker(model, connection, link)
        if admission.fits:
            worker.gpu_id = self._place(model)
            self._fork(worker, memory_bytes=admission.free)
        else:
            self._refuse(worker, admission)

    def adopt(self, model: HostedModel, connection: socket.socket, link: int, page: int, pid: int) -> None:
        """A worker of a fork server that died. Its native output goes nowhere, and nobody is told its exit status."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.close(writer)
        self._watch(
            WorkerRecord(
                sequence=next(self._sequences),
                model=model,
                connection=connection,
                status=StatusPage(page),
                output=Lines(reader),
                descriptors=(),
                reload=False,
                need=0,
                link=link,
                pid=pid,
            )
        )

    def let_go(self, model: HostedModel) -> None:
        """The front end wants it no more: it is closed when its last worker has ended."""
        model.let_go = True
        self._forget_if_finished(model)

    def keep_refused(self, worker: WorkerRecord) -> None:
        """Its load is answered with 507 soon: it stays until the front end hangs up."""
        worker.refused = True
        self._watch_connection(worker)

    def release(self, worker: WorkerRecord, reason: Failure | None = None, hang_up: bool = True) -> None:
        """Lets the worker's connection go; `reason`: why, where the front end cannot have been told on it."""
        self._unwatch_connection(worker)
        self.loop.unwatch(worker.output)
        self._front.released(worker, reason)
        worker.close(hang_up)
        self._forget_if_finished(worker.model)

    def resize(self, model: HostedModel, workers: int) -> None:
        logger.info("%d workers from now on", workers, extra={"model": model.name})
        try:
            self._front.resize(model, workers)
        except OSError as error:
            logger.warning("the number of workers could not be changed: %s", error, extra={"model": model.name})

    def _forget_if_finished(self, model: HostedModel) -> None:
        if model.finished and model.key in self._models:
            del self._models[model.key]
            self._end_strays()
            model.close()
            self._front.closed(model)

    # Workers

    def _new_worker(
        self, model: HostedModel, connection: socket.socket, link: int, after: WorkerRecord | None = None
    ) -> WorkerRecord:
        """`after`: the worker that this one replaces."""
        page = StatusPage.create()
        status = StatusPage(page)
        if after is not None:
            status.remember_load(after.status.gpu_id, after.status.batch_size, after.status.io_name)
        output, output_writer = os.pipe2(os.O_CLOEXEC)
        return WorkerRecord(
            sequence=next(self._sequences),
            model=model,
            connection=connection,
            status=status,
            output=Lines(output),
            descriptors=(os.dup(connection.fileno()), output_writer, page),
            reload=after is not None,
            need=model.need,
            link=link,
        )

    def _fork(self, worker: WorkerRecord, memory_bytes: int | None, rest_s: float = 0.0, reason: str = "") -> None:
        self._watch(worker)
        model = worker.model
        request = ForkRequest(
            sequence=worker.sequence,
            model=ModelRef(model.name, str(model.directory), model.handler),
            temp_dir=str(model.temp_dir),
            io_dir=model.io_dir,
            mark=model.key,
            memory_bytes=memory_bytes,
            launched=model.launched,
            connected=time.monotonic(),
            reload=worker.reload,
            gpu_id=worker.status.gpu_id if worker.reload else worker.gpu_id,
            batch_size=worker.status.batch_size,
            backoff_s=rest_s,
            reason=reason,
            extended_protocol=self._native,
        )
        self._pool.fork(model.framework, request, worker.descriptors)

    def _place(self, model: HostedModel) -> int | None:
        """The GPU for a model's next worker; None where there is none, or the model cannot use it."""
        gpus = self._gpus.read() if frameworks.named(model.framework).uses_gpu else []
        promised: Counter[int] = Counter()
        for worker in self._workers.values() if gpus else ():
            if worker.gpu_id is not None and worker.loading:
                promised[worker.gpu_id] += worker.need
        return choose(gpus, promised)

    def _watch(self, worker: WorkerRecord) -> None:
        self._workers[worker.sequence] = worker
        worker.model.workers[worker.sequence] = worker
        self._watch_connection(worker)
        self._watch_output(worker)

    def _watch_connection(self, worker: WorkerRecord) -> None:
        """Nothing happens where it is watched already."""
        descriptor = worker.connection.fileno()
        if descriptor not in self._connections:
            self._connections[descriptor] = worker
            self._hang_ups.register(descriptor, select.EPOLLRDHUP)

    def _unwatch_connection(self, worker: WorkerRecord) -> None:
        if self._connections.pop(worker.connection.fileno(), None):
            self._hang_ups.unregister(worker.connection.fileno())

    def _on_started(self, sequence: int, pid: int) -> None:
        worker = self._workers.get(sequence)
        if worker is not None:
            worker.pid = pid
            self._front.started(worker, worker.descriptors[-1])
            if worker.hung_up:
                worker.kill()

    def _watch_output(self, worker: WorkerRecord) -> None:
        if worker.sequence in self._workers:
            self.loop.watch(worker.output, lambda: self._on_output(worker))

    def _on_output(self, worker: WorkerRecord) -> None:
        """Pauses for a multiple of the time that it took: one who prints without end must not occupy the loop."""
        start = time.monotonic()
        self.loop.unwatch(worker.output)
        if self._log_output(worker, _OUTPUT_BYTES):
            self.loop.after(_OUTPUT_PAUSE * (time.monotonic() - start), partial(self._watch_output, worker))

    def _log_output(self, worker: WorkerRecord, *most: int) -> bool:
        """False at the output's end."""
        lines = worker.read_output(*most)
        for line in lines or ():
            logger.info("%s", line, extra={"model": worker.model.name, "pid": worker.pid})
        return lines is not None

    def _on_hang_ups(self) -> None:
        """Closed by the front end. An idle worker sees that itself; a busy one must not delay the unload."""
        for descriptor, _ in self._hang_ups.poll(0):
            worker = self._connections.get(descriptor)
            if worker is None:
                continue
            self._unwatch_connection(worker)
            if worker.refused:
                self.release(worker)
            else:
                worker.kill()

    def _on_exit(self, sequence: int, wait_status: int) -> None:
        worker = self._workers.pop(sequence, None)
        if worker is None:
            return
        worker.kill()  # what it has started and left behind
        self._log_output(worker)
        del worker.model.workers[sequence]
        try:
            self._answer_for(worker, wait_status)
        except Exception:
            logger.exception("nobody could answer in the worker's place", extra={"model": worker.model.name})
            if not worker.closed:
                self.release(worker)

    def _answer_for(self, worker: WorkerRecord, wait_status: int) -> None:
        if worker.hung_up:
            self.release(worker)
        elif os.waitstatus_to_exitcode(wait_status) == EXIT_BACKOFF_OVER and worker.at_rest:
            self._replace(worker)
        elif failure := worker.failure():
            self._load_failed(worker, failure)
        else:
            self._on_death(worker, wait_status)

    def _on_death(self, worker: WorkerRecord, wait_status: int) -> None:
        error = explain_death(
            wait_status,
            doing=worker.doing,
            oom_killed=wait_status == signal.SIGKILL and self._oom_kills.attribute(),
            timed_out_after_s=worker.timed_out_after_s,
            output=worker.last_lines,
        )
        details = {"output": list(worker.last_lines)}
        logger.error("%s", error, extra={"model": worker.model.name, "pid": worker.pid, "details": details})
        state = worker.status.state
        if state in (WorkerState.STARTING, WorkerState.LOADING, WorkerState.FAILED):
            self._load_failed(worker, Failure.of(error, worker.model.name, "load"))
        elif state in (WorkerState.READING, WorkerState.RESPONDING, WorkerState.STREAMING) or (
            state == WorkerState.BUSY and not worker.answer_requests(error)
        ):
            # Half a message may be on the wire: hanging up is the only thing that can be understood now.
            self.release(worker, Failure.of(error, worker.model.name, "predict"))
        else:
            self._replace_after_death(worker, str(error))

    def _replace_after_death(self, worker: WorkerRecord, reason: str) -> None:
        """At once after the first deaths; after more in a row, with a pause in which callers are told why."""
        model = worker.model
        model.deaths = 1 if worker.status.counters[1] else model.deaths + 1
        if model.deaths <= _PATIENT_DEATHS:
            self._replace(worker)
            return
        rest_s = min(_MAX_REST_S, 2.0 ** (model.deaths - _PATIENT_DEATHS - 1))
        reason = f"the model failed {model.deaths} times in a row and rests for {rest_s:g} s; at last: {reason}"
        logger.error("%s", reason, extra={"model": model.name})
        self._replace(worker, rest_s, reason[:2000])

    def _replace(self, worker: WorkerRecord, rest_s: float = 0.0, reason: str = "") -> None:
        replacement = self._new_worker(worker.model, worker.connection.dup(), worker.link, worker)
        self._fork(replacement, None, rest_s, reason)
        self.release(worker, hang_up=False)

    # Memory

    def _refuse(self, worker: WorkerRecord, admission: Admission) -> None:
        for descriptor in worker.descriptors:
            os.close(descriptor)
        worker.read_load_command()
        loaded = sorted(model.name for model in self._models.values() if model.workers)
        details = {**asdict(admission), "loaded_models": len(loaded), "loaded": loaded[:_NAMES_IN_LOG]}
        logger.warning("%s", admission, extra={"model": worker.model.name, "phase": "load", "details": details})
        named = f": {', '.join(loaded[:_NAMES_IN_ANSWER])}" if loaded else ""
        more = ", ..." if len(loaded) > _NAMES_IN_ANSWER else ""
        message = f"{admission}; {len(loaded)} models are loaded{named}{more}"
        failure = Failure(INSUFFICIENT_STORAGE, "MemoryError", message, worker.model.name, "load")
        self._load_failed(worker, failure)

    # Load

    def _loads(self) -> Iterator[Load]:
        """Nothing where the number of workers is set: then it stays as it is."""
        if self.config.workers is not None or not self.config.multi_model:
            return
        for model in self._models.values():
            if model.workers and not model.let_go and not any(item.loading for item in model.workers.values()):
                busy_ns = sum(worker.busy_ns() for worker in model.workers.values())
                yield Load(model.name, len(model.workers), busy_ns)

    def _resize_by_name(self, name: str, workers: int) -> None:
        for model in self._models.values():
            if model.name == name and not model.let_go:
                self.resize(model, workers)
                break

    # Failed loads

    def _load_failed(self, worker: WorkerRecord, failure: Failure) -> None:
        if worker.reload:
            self._replace_after_death(worker, failure.message)
        elif worker.model.serving:
            self.release(worker)
            self._front.gave_up(worker)
        elif not self.config.multi_model:
            logger.error("the only model of this container cannot be loaded: %s", failure.message)
            self.loop.stop(EXIT_MODEL_FAILED)
        else:
            self._front.load_failed(worker, failure)

    def _on_fork_failed(self, sequence: int, reason: str, status: int) -> None:
        worker = self._workers.pop(sequence)
        del worker.model.workers[sequence]
        error = WorkerDiedError(f"no process could be forked for the model: {reason}", status)
        logger.error("%s", error, extra={"model": worker.model.name})
        if not worker.reload:
            worker.read_load_command()  # MMS would not notice a hang-up before it has sent it
        self._load_failed(worker, Failure.of(error, worker.model.name, "load"))

    # Now and then, and the end

    def _check_deadlines(self) -> None:
        now = time.monotonic()
        self._for_each_worker(partial(self._check_deadline, now))

    def _check_deadline(self, now: float, worker: WorkerRecord) -> None:
        limit_s = self._limit_s(worker.status, worker.model)
        if limit_s is not None and worker.timed_out_after_s is None and now - worker.since > limit_s:
            worker.timed_out_after_s = limit_s
            worker.kill()
        if worker.vanished():
            self._on_exit(worker.sequence, signal.SIGKILL)

    def _check_orphans(self) -> None:
        now = time.monotonic()
        for model in self._models.values():
            for orphan in list(model.orphans):
                limit_s = self._limit_s(orphan.status, model) if orphan.status is not None else None
                if limit_s is None or orphan.status is None or now - orphan.status.since <= limit_s:
                    continue
                if orphan.kill():
                    message = "a worker that outlived its fork server gave no answer within %g s; ended"
                    logger.error(message, limit_s, extra={"model": model.name, "pid": orphan.pid})
                orphan.close()
                model.orphans.remove(orphan)

    def _limit_s(self, status: StatusPage, model: HostedModel) -> float | None:
        match status.state:
            case WorkerState.BUSY:
                return model.response_timeout_s
            case WorkerState.LOADING | WorkerState.STARTING:
                return self.config.load_timeout_s
            case WorkerState.STREAMING:
                return _STREAM_S
        return None

    def _measure(self) -> None:
        for worker, need in self._admission.measure(self._workers.values()):
            self._front.took(worker.model, need)

    def _on_children(self) -> None:
        """Strays at once, too: hundreds that ended unreaped would count in the container's limit of processes."""
        self._reap_adopted()
        self._reap_strays()

    def _reap_adopted(self) -> None:
        """Workers whose zygote died are our children now. A zygote's own end is its channel's to tell."""
        self._for_each_worker(self._reap)

    def _reap(self, worker: WorkerRecord) -> None:
        if worker.pid is not None:
            try:
                pid, status = os.waitpid(worker.pid, os.WNOHANG)
            except ChildProcessError:  # its zygote's
                return
            if pid:
                self._on_exit(worker.sequence, status)

    def _for_each_worker(self, duty: Callable[[WorkerRecord], None]) -> None:
        """An error in what one worker needs must not cost the next ones their turn."""
        for worker in list(self._workers.values()):
            try:
                duty(worker)
            except Exception:
                logger.exception("an error in the round of all workers", extra={"model": worker.model.name})

    def _strays(self) -> set[int]:
        """What models have started whose parents have ended: it is ours then, whatever session it is in."""
        return set(children()) - {worker.pid for worker in self._workers.values()} - set(self._pool.pids().values())

    def _end_strays(self) -> None:
        """Those of models that are closed."""
        for stray in self._strays():
            key = mark_of(stray)
            for pid in with_descendants(stray) if key is not None and key not in self._models else ():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _reap_strays(self) -> None:
        """Nobody else waits for them. A worker whose pid is not known yet must not be among them."""
        if any(worker.pid is None for worker in self._workers.values()):
            return
        for pid in self._strays():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self._end_strays()  # also what was started, or lost its parent, when its model was being closed

    def _stop(self) -> None:
        self._admission.save()
        for worker in self._workers.values():
            worker.kill()
        self._pool.stop()
        if self._orphaned:
            self._remove_run_dir()

    def _remove_run_dir(self) -> None:
        """Again where somebody, himself about to end, has put something into it meanwhile."""
        for _ in range(_REMOVALS):
            shutil.rmtree(self._run_dir, ignore_errors=True)
            if not self._run_dir.exists():
                break
            time.sleep(_REMOVAL_S)
