"""Loads: given their packages, admitted by memory, placed on a GPU, and given a worker."""

import os
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial

from polyhost.container.errors import INSUFFICIENT_STORAGE, Failure
from polyhost.container.forkserver.gpus import GpuGauge, choose
from polyhost.container.forkserver.model_layers import ModelLayers
from polyhost.container.forkserver.records import HostedModel, WorkerRecord
from polyhost.container.forkserver.workers import Workers
from polyhost.container.memory.admission import Admission, AdmissionControl
from polyhost.events import get_logger
from polyhost.handlers import frameworks

_NAMES_IN_LOG, _NAMES_IN_RESPONSE = 50, 20

logger = get_logger(__name__)


class Loader:
    """Has a worker forked for each connection that the front end opens, if the model fits."""

    def __init__(
        self,
        models: Mapping[int, HostedModel],
        workers: Workers,
        admission: AdmissionControl,
        gpus: GpuGauge,
        layers: ModelLayers,
        on_load_failed: Callable[[WorkerRecord, Failure], None],
    ) -> None:
        self._models = models
        self._workers = workers
        self._admission = admission
        self._gpus = gpus
        self._layers = layers
        self._on_load_failed = on_load_failed

    def load(self, model: HostedModel, connection: socket.socket, number: int) -> None:
        """Load the model in a new worker, once its packages are there, or reject the load."""
        worker = self._workers.create(model, connection, number)
        self._workers.hold_waiting(worker)
        self._layers.provide(worker, partial(self._admit, worker), partial(self._fail, worker))

    def give_up(self, worker: WorkerRecord) -> None:
        """Release a worker whose front end has hung up before it had a process."""
        self._layers.cancel(worker)
        self._close_descriptors(worker)
        self._workers.release(worker)

    def _admit(self, worker: WorkerRecord) -> None:
        """Have the worker forked if the model fits into memory now; otherwise the load is rejected with 507.

        Zygotes that nothing uses make room first.
        """
        model = worker.model
        admission = self._decide(model)
        while not admission.fits and self._workers.free_memory_for(model):
            admission = self._decide(model)
        model.need = worker.need = admission.need
        if admission.fits:
            worker.gpu_id = self._place(model)
            self._workers.fork(worker, memory_bytes=admission.free)
        else:
            self._reject(worker, admission)

    def _decide(self, model: HostedModel) -> Admission:
        loading = [item.need for item in self._workers if item.loading]
        return self._admission.decide(model.fingerprint, loading, self._workers.zygote_bytes(model))

    def _place(self, model: HostedModel) -> int | None:
        """Choose the GPU; None if the machine has no GPU or the model does not use one."""
        gpus = self._gpus.read() if frameworks.named(model.framework).uses_gpu else []
        promised: Counter[int] = Counter()
        for worker in self._workers if gpus else ():
            if worker.gpu_id is not None and worker.loading:
                promised[worker.gpu_id] += worker.need
        return choose(gpus, promised)

    def _reject(self, worker: WorkerRecord, admission: Admission) -> None:
        loaded = sorted(model.name for model in self._models.values() if model.workers)
        details = {**asdict(admission), "loaded_models": len(loaded), "loaded": loaded[:_NAMES_IN_LOG]}
        logger.warning("%s", admission, extra={"model": worker.model.name, "phase": "load", "details": details})
        named = f": {', '.join(loaded[:_NAMES_IN_RESPONSE])}" if loaded else ""
        more = ", ..." if len(loaded) > _NAMES_IN_RESPONSE else ""
        message = f"{admission}; {len(loaded)} models are loaded{named}{more}"
        self._fail(worker, Failure(INSUFFICIENT_STORAGE, "MemoryError", message, worker.model.name, "load"))

    def _fail(self, worker: WorkerRecord, failure: Failure) -> None:
        """Fail the load of a worker that has no process."""
        self._close_descriptors(worker)
        worker.read_load_command()
        self._on_load_failed(worker, failure)

    def _close_descriptors(self, worker: WorkerRecord) -> None:
        for descriptor in worker.descriptors or ():
            os.close(descriptor)
