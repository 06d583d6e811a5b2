"""The fork server: answers the launchers' requests with forks of the zygotes, and watches over what it has made.

It imports no framework and is never on a request's path: MMS talks to the workers themselves. It keeps a copy of each
connection and shares a status page with each worker, and steps in when one dies.
"""

import contextlib
import ctypes
import importlib
import itertools
import logging
import os
import select
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from http import HTTPStatus
from pathlib import Path

from container import log
from container.admission import Verdict
from container.config import HANDLER_REGISTRY, Config
from container.errors import INSUFFICIENT_STORAGE, Failure, WorkerDiedError
from container.explain import explain_death
from container.guard import MemoryGuard
from container.hosted import HostedModel, WorkerRecord
from container.launch import FIFO, Launcher, drop_record, recorded
from container.lines import Lines
from container.loop import Loop
from container.memory import ControlGroup, MemoryGauge
from container.messages import ForkRequest
from container.mms_client import MmsClient
from container.pool import Events, ZygotePool
from container.processes import children, group_leaders_in
from container.scaler import Load, Scaler
from container.status import State, StatusPage
from container.worker import EXIT_RESTED
from container.zygote import BARE

EXIT_MODEL_FAILED = 3  # the only model of a single-model container cannot be loaded

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_LEFTOVERS_S = 5.0
_ZYGOTES_WAIT_S, _ZYGOTES_POLL_S = 10.0, 0.05
_DESERTED_S = 5.0
_ROUND_S = 0.5  # deadlines, load, and what models take
_PATIENT_DEATHS = 2
_MAX_REST_S = 60.0
_NAMES_IN_LOG = 50

logger = logging.getLogger("polyhost.forkserver")


class ForkServer:
    def __init__(self, config: Config, run_dir: Path, log_descriptor: int) -> None:
        self._config = config
        self._run_dir = run_dir
        self._log_descriptor = log_descriptor
        self._loop = Loop()
        self._hang_ups = select.epoll()  # the connections that MMS may close, watched for nothing else
        self._connections: dict[int, WorkerRecord] = {}  # by descriptor
        self._models: dict[int, HostedModel] = {}  # by the launcher's pid
        self._workers: dict[int, WorkerRecord] = {}  # by sequence
        self._sequences = itertools.count(1)
        self._memory = MemoryGauge(ControlGroup.find())
        self._guard = MemoryGuard(self._memory, config)
        self._mms = MmsClient(self._loop, config.port)
        self._fifo_partial = b""
        self._framework_of: Callable[[str, str | None], str | None]
        self._pool: ZygotePool

    def run(self) -> int:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)  # the workers of a zygote that dies become ours
        self._loop.on_signals(
            {signal.SIGCHLD: self._reap_adopted, signal.SIGTERM: lambda: self._loop.stop(0)}, ignored=(signal.SIGINT,)
        )
        registry = importlib.import_module(HANDLER_REGISTRY)
        self._framework_of = registry.framework_of
        events = Events(self._on_started, self._on_exit, self._on_fork_failed)
        self._pool = ZygotePool(self._loop, self._config, registry.PRELOAD, self._run_dir, self._log_descriptor, events)
        self._start_zygotes(time.monotonic() + _ZYGOTES_WAIT_S)
        self._loop.watch(self._hang_ups, self._on_hang_ups)
        self._loop.watch(sys.stdin, self._on_supervisor_end)
        self._watch_fifo()
        self._drop_leftovers()
        for pid in recorded(self._run_dir):
            self._launch(pid)
            self._find_orphans(pid)
        scaler = Scaler(self._config.max_workers, _ROUND_S, self._resize)
        for duty in (
            self._check_deadlines,
            self._reap_strays,
            self._end_deserted,
            lambda: self._guard.measure(self._workers.values()),
            lambda: scaler.round(self._loads()),
        ):
            self._loop.every(_ROUND_S, duty)
        status = self._loop.run()
        self._stop()
        return status

    def _start_zygotes(self, deadline: float) -> None:
        """When MMS is up: until then it needs the cores, and the platform waits for its /ping."""
        if self._mms.is_up() or time.monotonic() > deadline:
            self._pool.start()
        else:
            self._loop.after(_ZYGOTES_POLL_S, partial(self._start_zygotes, deadline))

    def _on_supervisor_end(self) -> None:
        """The supervisor holds the other end of stdin, and has been killed: end what it can no longer end."""
        for model in self._models.values():
            model.launcher.kill()
        shutil.rmtree(self._run_dir, ignore_errors=True)
        self._loop.stop(1)

    def _drop_leftovers(self) -> None:
        """Files for MMS that a fork server before this one can no longer remove; MMS has opened them in a moment."""
        left = [path for path in (self._run_dir / "tmp").iterdir() if path.name.endswith(("-stdout", "-stderr"))]
        for path in left:
            self._loop.after(_LEFTOVERS_S, partial(path.unlink, missing_ok=True))

    def _find_orphans(self, launcher_pid: int) -> None:
        """What a fork server before this one has forked for the model: it is to end with the model."""
        if model := self._models.get(launcher_pid):
            model.orphans = frozenset(group_leaders_in(model.directory.resolve()))

    # Launchers

    def _watch_fifo(self) -> None:
        fifo = os.open(self._run_dir / FIFO, os.O_RDWR | os.O_NONBLOCK)  # as a writer too: never at its end
        self._loop.watch(fifo, lambda: self._on_fifo(fifo))

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
        temp_dir = self._run_dir / "tmp" / f"model-{launcher.pid}"
        temp_dir.mkdir(mode=0o700, exist_ok=True)  # it exists where another fork server has made it and died
        framework = self._framework_of(arguments.model_path, arguments.handler) or BARE
        model = HostedModel(launcher, listener, framework, temp_dir)
        self._models[launcher.pid] = model
        self._loop.watch(listener, lambda: self._on_connection(model))
        if launcher.pidfd is not None:
            self._loop.watch(launcher.pidfd, lambda: self._on_launcher_end(model))
        with contextlib.suppress(OSError):  # it has ended; its pidfd says so
            launcher.say_started()

    def _on_launcher_end(self, model: HostedModel) -> None:
        """MMS ends a model so; or somebody else did, and then the workers serve on until MMS hangs up."""
        if not model.launcher_gone:
            model.launcher_gone = True
            self._loop.unwatch(model.launcher.pidfd)
            self._forget_if_finished(model)

    def _forget_if_finished(self, model: HostedModel) -> None:
        if model.finished and model.launcher.pid in self._models:
            del self._models[model.launcher.pid]
            self._loop.unwatch(model.listener)
            model.close()

    # Workers

    def _on_connection(self, model: HostedModel) -> None:
        connection, _ = model.listener.accept()
        verdict = self._guard.judge(model, self._workers.values())
        worker = self._new_worker(model, connection)
        if verdict.fits:
            self._fork(worker, memory_bytes=verdict.free)
        else:
            self._refuse(worker, verdict)

    def _new_worker(
        self, model: HostedModel, connection: socket.socket, after: WorkerRecord | None = None
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
            oom_kills_before=self._memory.oom_kills(),
        )

    def _fork(self, worker: WorkerRecord, memory_bytes: int | None, rest_s: float = 0.0, reason: str = "") -> None:
        self._watch(worker)
        model, arguments = worker.model, worker.model.launcher.arguments
        request = ForkRequest(
            sequence=worker.sequence,
            model=model.name,
            directory=arguments.model_path,
            handler=arguments.handler,
            temp_dir=str(model.temp_dir),
            io_dir=arguments.temp_dir,
            memory_bytes=memory_bytes,
            launched=model.launched,
            connected=time.monotonic(),
            reload=worker.reload,
            gpu_id=worker.status.gpu_id if worker.reload else None,
            batch_size=worker.status.batch_size,
            rest_s=rest_s,
            reason=reason,
        )
        self._pool.fork(model.framework, request, worker.descriptors)

    def _watch(self, worker: WorkerRecord) -> None:
        self._workers[worker.sequence] = worker
        worker.model.workers[worker.sequence] = worker
        self._watch_connection(worker)
        self._loop.watch(worker.output, lambda: self._on_output(worker))

    def _watch_connection(self, worker: WorkerRecord) -> None:
        """Nothing happens where it is watched already."""
        descriptor = worker.connection.fileno()
        if descriptor not in self._connections:
            self._connections[descriptor] = worker
            self._hang_ups.register(descriptor, select.EPOLLRDHUP)

    def _release(self, worker: WorkerRecord, hang_up: bool = True) -> None:
        self._unwatch_connection(worker)
        self._loop.unwatch(worker.output)
        worker.close(hang_up)
        worker.model.deserted = None if worker.model.workers else time.monotonic()
        self._forget_if_finished(worker.model)

    def _unwatch_connection(self, worker: WorkerRecord) -> None:
        if self._connections.pop(worker.connection.fileno(), None):
            self._hang_ups.unregister(worker.connection.fileno())

    def _on_started(self, sequence: int, pid: int) -> None:
        worker = self._workers.get(sequence)
        if worker is not None:
            worker.pid = pid
            if worker.hung_up:
                worker.kill()

    def _on_output(self, worker: WorkerRecord) -> None:
        lines = worker.read_output()
        if lines is None:
            self._loop.unwatch(worker.output)
        for line in lines or ():
            logger.info("%s", line, extra={"model": worker.model.name, "pid": worker.pid})

    def _on_hang_ups(self) -> None:
        """MMS has closed connections. An idle worker sees that itself; a busy one must not delay the unload."""
        for descriptor, _ in self._hang_ups.poll(0):
            worker = self._connections.get(descriptor)
            if worker is None:
                continue
            self._unwatch_connection(worker)
            if worker.refused:
                self._release(worker)
            else:
                worker.kill()

    def _on_exit(self, sequence: int, wait_status: int) -> None:
        worker = self._workers.pop(sequence, None)
        if worker is None:
            return
        worker.kill()  # what it has started and left behind
        self._on_output(worker)
        del worker.model.workers[sequence]
        if worker.hung_up:
            self._release(worker)
        elif os.waitstatus_to_exitcode(wait_status) == EXIT_RESTED and worker.at_rest:
            self._replace(worker)
        elif failure := worker.failure():
            self._load_failed(worker, failure)
        else:
            self._on_death(worker, wait_status)

    def _on_death(self, worker: WorkerRecord, wait_status: int) -> None:
        error = explain_death(
            wait_status,
            doing=worker.doing,
            oom_killed=self._memory.oom_kills() > worker.oom_kills_before,
            timed_out_after_s=worker.timed_out_after_s,
            output=worker.last_lines,
        )
        details = {"output": list(worker.last_lines)}
        logger.error("%s", error, extra={"model": worker.model.name, "pid": worker.pid, "details": details})
        state = worker.status.state
        if state in (State.STARTING, State.LOADING):
            self._load_failed(worker, Failure.of(error, worker.model.name, "load"))
        elif state in (State.READING, State.ANSWERING) or (state == State.BUSY and not worker.answer_requests(error)):
            # Half a message may be on the wire: hanging up is the only thing that MMS understands now.
            self._release(worker)
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
        replacement = self._new_worker(worker.model, worker.connection.dup(), worker)
        self._fork(replacement, None, rest_s, reason)
        self._release(worker, hang_up=False)

    # Memory

    def _refuse(self, worker: WorkerRecord, verdict: Verdict) -> None:
        for descriptor in worker.descriptors:
            os.close(descriptor)
        worker.read_load_command()
        loaded = sorted(model.name for model in self._models.values() if model.workers)
        details = {**asdict(verdict), "loaded_models": len(loaded), "loaded": loaded[:_NAMES_IN_LOG]}
        logger.warning("%s", verdict, extra={"model": worker.model.name, "phase": "load", "details": details})
        failure = Failure(INSUFFICIENT_STORAGE, "MemoryError", str(verdict), worker.model.name, "load")
        self._load_failed(worker, failure)

    # Load

    def _loads(self) -> Iterator[Load]:
        """Nothing where the number of workers is set: then it stays as it is."""
        if self._config.workers is not None or not self._config.multi_model:
            return
        for model in self._models.values():
            if model.workers and not model.launcher_gone and not any(item.loading for item in model.workers.values()):
                busy_ns = sum(worker.status.counters[0] for worker in model.workers.values())
                yield Load(model.name, len(model.workers), busy_ns)

    def _resize(self, name: str, workers: int) -> None:
        logger.info("%d workers from now on", workers, extra={"model": name})
        try:
            self._mms.resize(name, workers)
        except OSError as error:
            logger.warning("the number of workers could not be changed: %s", error, extra={"model": name})

    # Failed loads

    def _load_failed(self, worker: WorkerRecord, failure: Failure) -> None:
        """Lets MMS know, in the one of two ways that leaves no model registered.

        Hanging up: MMS answers 500 and unregisters the model. An answer: MMS passes its status on, which 507 needs, but
        then unregisters from the worker's own, interrupted thread. Should the launcher live then, the wait for its end
        throws, the clean-up counts as failed and the model stays: the platform's retry would get 409 for ever
        (WorkLoadManager.shutdownServerThread, ModelManager.unregisterModel). So the launcher is ended first.
        """
        if worker.reload:
            self._replace_after_death(worker, failure.message)
        elif worker.model.serving:
            self._give_up_worker(worker)
        elif not self._config.multi_model:
            logger.error("the only model of this container cannot be loaded: %s", failure.message)
            self._loop.stop(EXIT_MODEL_FAILED)
        elif failure.code == INSUFFICIENT_STORAGE:
            worker.refused = True
            self._watch_connection(worker)
            self._answer_when_noted(worker, failure, worker.model.launcher.kill_and_listen())
        else:
            self._release(worker)

    def _give_up_worker(self, worker: WorkerRecord) -> None:
        """A further worker of a model that serves already: that goes on with those that it has."""
        self._release(worker)
        self._resize(worker.model.name, len(worker.model.workers))

    def _answer_when_noted(self, worker: WorkerRecord, failure: Failure, noted: int | None) -> None:
        if noted is None:
            worker.answer_load(failure)
            return

        def answer() -> None:
            self._loop.unwatch(noted)
            os.close(noted)
            worker.answer_load(failure)

        self._loop.watch(noted, answer)

    def _on_fork_failed(self, sequence: int, reason: str) -> None:
        worker = self._workers.pop(sequence)
        del worker.model.workers[sequence]
        error = WorkerDiedError(f"no process could be forked for the model: {reason}", INSUFFICIENT_STORAGE)
        logger.error("%s", error, extra={"model": worker.model.name})
        self._load_failed(worker, Failure.of(error, worker.model.name, "load"))

    # Now and then, and the end

    def _check_deadlines(self) -> None:
        now = time.monotonic()
        limits_s = {
            State.BUSY: self._config.response_timeout_s,
            State.LOADING: self._config.load_timeout_s,
            State.STARTING: self._config.load_timeout_s,
        }
        for worker in list(self._workers.values()):
            limit_s = limits_s.get(worker.status.state)
            if limit_s is not None and worker.timed_out_after_s is None and now - worker.since > limit_s:
                worker.timed_out_after_s = limit_s
                worker.kill()
            if worker.vanished():
                self._on_exit(worker.sequence, signal.SIGKILL)
        for model in list(self._models.values()):
            if model.launcher.pidfd is None and model.launcher.reaped:
                self._on_launcher_end(model)

    def _end_deserted(self) -> None:
        """A launcher without workers that MMS knows no more.

        An unload that meets the end of a request can fail in MMS (NullPointerException in BatchAggregator.sendError)
        after the model is out of its list and before its launcher is ended.
        """
        for model in self._models.values():
            if model.deserted and not model.workers and time.monotonic() - model.deserted > _DESERTED_S:
                model.deserted = time.monotonic()
                with contextlib.suppress(OSError):
                    self._mms.describe(model.name, partial(self._on_described, model))

    def _on_described(self, model: HostedModel, status: int | None) -> None:
        if status == HTTPStatus.NOT_FOUND and not model.workers and not model.launcher_gone:
            logger.warning("MMS has lost the model's launcher; ended", extra={"model": model.name})
            model.launcher.kill()

    def _reap_adopted(self) -> None:
        """Workers whose zygote died are our children now. A zygote's own end is its channel's to tell."""
        for worker in list(self._workers.values()):
            if worker.pid is not None:
                with contextlib.suppress(ChildProcessError):
                    pid, status = os.waitpid(worker.pid, os.WNOHANG)
                    if pid:
                        self._on_exit(worker.sequence, status)

    def _reap_strays(self) -> None:
        """What models had started and nobody waits for. A worker whose pid is not known yet must not be among it."""
        workers = {worker.pid for worker in self._workers.values()}
        if None in workers:
            return
        for pid in set(children()) - workers - set(self._pool.pids().values()):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def _stop(self) -> None:
        self._guard.save()
        for worker in self._workers.values():
            worker.kill()
        self._pool.stop()


def main(arguments: Sequence[str]) -> int:
    run_dir, log_descriptor, config_json = arguments
    config = Config.from_json(config_json)
    # A number of its own for the log: a worker's 1 and 2 become a pipe for what native code prints.
    descriptor = os.dup(int(log_descriptor))
    log.configure(
        as_json=config.log_json,
        level=config.log_level,
        descriptor=descriptor,
        lock_path=str(Path(run_dir) / "log.lock"),
    )
    return ForkServer(config, Path(run_dir), descriptor).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
