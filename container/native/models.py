"""The models of a container by name: loads and unloads of one name run one after another, of others side by side."""

import asyncio
import itertools
import os
import time
from bisect import bisect_right
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

from polyhost.container.config import Config
from polyhost.container.control_protocol import ModelRef
from polyhost.container.errors import Failure
from polyhost.container.native import errors
from polyhost.container.native.errors import Rejection
from polyhost.container.native.fork_server_client import ForkServerClient
from polyhost.container.native.load_request import LoadRequest
from polyhost.container.native.queue import PendingBytes
from polyhost.container.native.served_model import ModelState, ModelTimeouts, ServedModel, ServingContext, ServingSpec
from polyhost.container.native.serving_options import ServingOptions
from polyhost.container.native.stats import ModelStats, Sample
from polyhost.container.native.worker_connection import WorkerConnections
from polyhost.container.worker.model_directory import is_within, why_unreadable
from polyhost.events import get_logger

SINGLE = "model"  # the name of the only model of a single-model container
_SWEEP_S = 0.25
_MAX_STATS = 5_000

logger = get_logger(__name__)


class Models:
    """The front end's models; receives the fork server's messages for all of them (ForkServerListener).

    A model is found by its name from its load until its name is free, and by its key until nothing is left of it; see
    ModelState for the difference.
    """

    def __init__(
        self,
        config: Config,
        fork_server: ForkServerClient,
        pending: PendingBytes | None = None,
        timeouts: ModelTimeouts | None = None,
    ) -> None:
        self._config = config
        self._settings = ServingOptions.of(config)
        self._connections = WorkerConnections(config.max_payload_bytes)
        self._context = ServingContext(
            config, fork_server, self._connections, pending or PendingBytes(), timeouts or ModelTimeouts()
        )
        self._keys = itertools.count(1)
        self._by_name: dict[str, ServedModel] = {}
        self._by_key: dict[int, ServedModel] = {}
        self._stats: dict[str, ModelStats] = {}  # by name, of unloaded models as well

    def start(self) -> None:
        """Begin to enforce deadlines."""
        self._sweep()

    def close(self) -> None:
        """Close all connections to workers, and by that end the workers."""
        self._connections.close()

    def get(self, name: str) -> ServedModel:
        """Return the model, which may still be loading: invocations wait then. Raises Rejection (404)."""
        try:
            return self._by_name[name]
        except KeyError:
            raise errors.not_loaded(name) from None

    def get_loaded(self, name: str) -> ServedModel:
        """Return the model. Raises Rejection (404), also while it is still loading."""
        model = self.get(name)
        if model.state is ModelState.LOADING:
            raise errors.not_loaded(name)
        return model

    def list_page(self, after: str, limit: int) -> tuple[list[ServedModel], bool]:
        """Return up to `limit` loaded models with names after `after`, and whether there are more."""
        names = sorted(name for name, model in self._by_name.items() if model.state is not ModelState.LOADING)
        start = bisect_right(names, after)
        chosen = names[start : start + limit]
        return [self._by_name[name] for name in chosen], start + limit < len(names)

    def open_keys(self) -> list[int]:
        """Return the keys of all models of which something is left."""
        return list(self._by_key)

    def snapshot(self) -> list[Sample]:
        """Return the metrics of each name, loaded or not."""
        return [self._sample(name, stats) for name, stats in self._stats.items()]

    def _sample(self, name: str, stats: ModelStats) -> Sample:
        model = self._by_name.get(name)
        if model is None:
            return Sample(name, stats, False, 0, 0)
        return Sample(name, stats, model.loaded, model.workers, model.waiting)

    # Load and unload

    async def load(self, request: LoadRequest) -> None:
        """Load a model, with a handler and options of the load request's own if it names some.

        Raises Rejection; nothing is left of the model then, or what is left is in the log.
        """
        name = request.name
        await self._wait_for_unload(name)
        if name in self._by_name:
            message = f"model {name!r} is {self._by_name[name].state.value} already"
            raise Rejection(HTTPStatus.CONFLICT, "ModelLoadedError", message, name, "load")
        model = self._new_model(request)
        self._by_name[name] = self._by_key[model.key] = model
        try:
            await model.load()
        except BaseException:
            await self._close(model)
            raise

    async def load_version(self, request: LoadRequest) -> ServedModel:
        """Load another version of a model beside the one that serves its name, and have it serve the name.

        The old one serves on until it is unloaded by `unload_version`. Raises Rejection like `load`.
        """
        model = self._new_model(request)
        self._by_key[model.key] = model
        try:
            await model.load()
        except BaseException:
            await self._close(model)
            raise
        self._by_name[model.name] = model
        return model

    async def unload_version(self, model: ServedModel) -> None:
        """Unload what `load_version` returned. Raises Rejection if its processes do not end in time."""
        await model.unload()

    def _new_model(self, request: LoadRequest) -> ServedModel:
        name = request.name
        try:
            directory = self._checked_directory(request.url, name)
            settings = replace(self._settings.of_archive(directory, name), **request.options)
        except Rejection as rejection:
            logger.warning("%s", rejection, extra={"model": name, "phase": "load"})
            raise
        spec = ServingSpec(ModelRef(name, str(directory), request.handler), request.url, settings)
        return ServedModel(next(self._keys), spec, self._context, self._stats_of(name), self._on_name_free)

    def _checked_directory(self, url: str, name: str) -> Path:
        """Return the model's directory. Raises Rejection if `url` is not a directory below BASE/models.

        The worker checks it again (worker/process.py): behind MMS it is the only one that does.
        """
        roots = self._config.model_roots
        directory = Path(os.path.normpath(url))
        is_top = directory.resolve() in (root.resolve() for root in roots)
        if not directory.is_absolute() or not is_within(directory, roots) or (is_top and self._config.multi_model):
            message = f"url is {url!r}; it must lie below {self._config.models_dir} (SAGEMAKER_BASE_DIR)"
            raise errors.bad_request(message, name, "load")
        if reason := why_unreadable(directory):
            raise errors.bad_request(f"url is {url!r}; {reason}", name, "load")
        if not directory.is_dir():
            raise errors.bad_request(f"url is {url!r}; there is no such directory", name, "load")
        return directory

    async def unload(self, name: str) -> None:
        """Unload a model. Raises Rejection if it is not loaded, or if its processes do not end in time."""
        await self._wait_for_unload(name)
        await self.get(name).unload()

    async def _wait_for_unload(self, name: str) -> None:
        while (model := self._by_name.get(name)) and model.state in (ModelState.DRAINING, ModelState.UNLOADING):
            await model.wait_until_name_is_free()

    async def _close(self, model: ServedModel) -> None:
        try:
            await asyncio.shield(model.close())
        except Rejection as rejection:
            logger.error("%s", rejection, extra={"model": model.name})

    def _on_name_free(self, model: ServedModel) -> None:
        if self._by_name.get(model.name) is model:  # another one may have the name by now
            del self._by_name[model.name]
        if model.state is ModelState.CLOSED:
            del self._by_key[model.key]

    def _stats_of(self, name: str) -> ModelStats:
        """Return the metrics of a name, new ones where needed; those of the longest unloaded names are removed."""
        while len(self._stats) >= _MAX_STATS:
            unloaded = next((known for known in self._stats if known not in self._by_name), None)
            if unloaded is None:
                break
            del self._stats[unloaded]
        return self._stats.setdefault(name, ModelStats())

    # Deadlines and the container's end

    def _sweep(self) -> None:
        asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)
        now = time.monotonic()
        for model in list(self._by_name.values()):
            if model.waiting or model.running:
                model.expire_overdue(now)

    def reject_all(self) -> None:
        """Reject every load and invocation that has no response yet: the container stops."""
        for model in list(self._by_key.values()):
            model.reject_all()

    # From the fork server: ForkServerListener

    def on_worker_started(self, connection: int, pid: int, status_page: int) -> None:
        if worker := self._connections.get(connection):
            worker.on_worker_started(pid, status_page)
        else:
            os.close(status_page)

    def on_worker_lost(self, connection: int, failure: Failure) -> None:
        if worker := self._connections.get(connection):
            worker.on_worker_lost(failure)

    def on_resize(self, key: int, workers: int) -> None:
        if model := self._by_key.get(key):
            model.on_resize(workers)

    def on_memory_measured(self, key: int, size: int) -> None:
        if model := self._by_key.get(key):
            model.stats.memory_bytes = size

    def on_model_closed(self, key: int) -> None:
        if model := self._by_key.get(key):
            model.on_closed()

    def on_fork_server_lost(self) -> None:
        for model in self._by_key.values():
            model.on_fork_server_lost()

    def on_new_fork_server(self) -> None:
        for model in list(self._by_key.values()):
            model.on_new_fork_server()
