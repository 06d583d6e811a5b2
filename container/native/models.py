"""The models of this container by name: loads and unloads of one name one after the other, of others side by side."""

import asyncio
import itertools
import logging
import os
import time
from bisect import bisect_right
from http import HTTPStatus
from pathlib import Path

from polyhost.container.config import Config
from polyhost.container.control_protocol import WorkerLost
from polyhost.container.native import errors
from polyhost.container.native.errors import Refusal
from polyhost.container.native.fork_server_client import ForkServerClient
from polyhost.container.native.served_model import ModelSpec, ModelState, PendingBytes, ServedModel, WorkerConnections
from polyhost.container.native.serving_options import ServingSettings
from polyhost.container.native.stats import ModelStats, Sample

SINGLE = "model"  # the name of a single-model container's only one
_SWEEP_S = 0.25
_KEPT_STATS = 5_000

logger = logging.getLogger("polyhost.native")


class Models:
    """Hears of the fork server, for all models."""

    def __init__(self, config: Config, forks: ForkServerClient) -> None:
        self._config = config
        self._forks = forks
        self._settings = ServingSettings.of(config)
        self._by_name: dict[str, ServedModel] = {}
        self._by_key: dict[int, ServedModel] = {}
        self._keys = itertools.count(1)
        self._book = WorkerConnections()
        self._waiting = PendingBytes()
        self._tasks: set[asyncio.Task[None]] = set()
        self.stats: dict[str, ModelStats] = {}

    def start(self) -> None:
        self._sweep()

    def get(self, name: str) -> ServedModel:
        """Raises Refusal (404). One that is still loading counts: its calls wait."""
        try:
            return self._by_name[name]
        except KeyError:
            raise errors.not_loaded(name) from None

    def described(self, name: str) -> ServedModel:
        """Raises Refusal (404), also for one that is not loaded yet."""
        model = self.get(name)
        if model.state is ModelState.LOADING:
            raise errors.not_loaded(name)
        return model

    def page(self, after: str, limit: int) -> tuple[list[ServedModel], bool]:
        """So many loaded models behind that name, and whether there are more."""
        names = sorted(name for name, model in self._by_name.items() if model.state is not ModelState.LOADING)
        start = bisect_right(names, after)
        chosen = names[start : start + limit]
        return [self._by_name[name] for name in chosen], start + limit < len(names)

    @property
    def running(self) -> int:
        return sum(model.running + len(model.queue) for model in self._by_name.values())

    def snapshot(self) -> list[Sample]:
        """What there is to tell about each name, loaded or not."""
        return [Sample(name, stats, *self._now(name)) for name, stats in self.stats.items()]

    def _now(self, name: str) -> tuple[bool, int, int]:
        model = self._by_name.get(name)
        return (False, 0, 0) if model is None else (model.state is ModelState.READY, len(model.links), len(model.queue))

    # Loads and unloads

    async def load(self, name: str, url: str) -> None:
        """Raises Refusal; then nothing is left of it."""
        await self._wait_for_unload(name)
        if name in self._by_name:
            state = self._by_name[name].state.value
            raise Refusal(
                HTTPStatus.CONFLICT, "ModelLoadedError", f"the model {name!r} is {state} already", name, "load"
            )
        try:
            directory = self._checked(url, name)
            settings = self._settings.of_archive(directory, name)
        except Refusal as refusal:
            logger.warning("%s", refusal, extra={"model": name, "phase": "load"})
            raise
        spec = ModelSpec(name, url, directory, self._config.handler, settings)
        key, stats = next(self._keys), self._stats_of(name)
        model = ServedModel(key, spec, self._config, self._forks, stats, self._book, self._waiting)
        self._by_name[name] = self._by_key[model.key] = model
        try:
            await model.load()
        except BaseException:
            await self._close(model)
            raise

    async def unload(self, name: str) -> None:
        """Raises Refusal."""
        await self._wait_for_unload(name)
        model = self.get(name)
        loading = model.state is ModelState.LOADING
        try:
            await model.unload()
        finally:
            if not loading:  # its load takes it out of the list
                self._forget(model)

    async def _wait_for_unload(self, name: str) -> None:
        while (model := self._by_name.get(name)) and model.state is ModelState.UNLOADING:
            await model.gone.wait()

    async def _close(self, model: ServedModel) -> None:
        try:
            await asyncio.shield(model.close())
        except Refusal as refusal:
            logger.error("%s", refusal, extra={"model": model.name})
        finally:
            self._forget(model)

    def _forget(self, model: ServedModel) -> None:
        if self._by_name.get(model.name) is model:
            del self._by_name[model.name]
        model.gone.set()
        if model.closed.is_set():
            self._by_key.pop(model.key, None)

    def _checked(self, url: str, name: str) -> Path:
        """Raises Refusal where it is no folder below BASE/models."""
        folder = self._config.models_dir
        directory = Path(os.path.normpath(url))
        resolved, top = directory.resolve(), folder.resolve()
        below = resolved.is_relative_to(top) and not (self._config.multi_model and resolved == top)
        if not directory.is_absolute() or not below:
            raise errors.bad_request(f"url is {url!r}; it must lie below {folder} (SAGEMAKER_BASE_DIR)", name, "load")
        if not directory.is_dir():
            raise errors.bad_request(f"url is {url!r}; there is no such folder", name, "load")
        return directory

    def _stats_of(self, name: str) -> ModelStats:
        while len(self.stats) >= _KEPT_STATS:
            unloaded = next((known for known in self.stats if known not in self._by_name), None)
            if unloaded is None:
                break
            del self.stats[unloaded]
        return self.stats.setdefault(name, ModelStats())

    def _sweep(self) -> None:
        asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)
        now = time.monotonic()
        for model in list(self._by_name.values()):
            if model.queue or model.running:
                model.end_what_is_late(now)

    def refuse_calls(self) -> None:
        """All that wait for an answer: the container ends."""
        for model in self._by_key.values():
            model.refuse_calls()

    # What the fork server says: forks.Listener

    def on_worker_started(self, link: int, pid: int, page: int) -> None:
        if served := self._book.get(link):
            served.follow(pid, page)
        else:
            os.close(page)

    def on_link_lost(self, message: WorkerLost) -> None:
        if link := self._book.get(message.connection):
            link.lose(message.failure)

    def on_resize(self, key: int, workers: int) -> None:
        if model := self._by_key.get(key):
            model.resize(workers)

    def on_took(self, key: int, size: int) -> None:
        if model := self._by_key.get(key):
            model.stats.memory_bytes = size

    def on_model_closed(self, key: int) -> None:
        if model := self._by_key.get(key):
            model.closed.set()
            self._forget(model)

    def on_fork_server_lost(self) -> None:
        for model in self._by_key.values():
            model.on_fork_server_lost()

    def on_new_fork_server(self) -> None:
        for model in list(self._by_key.values()):
            task = asyncio.get_running_loop().create_task(model.introduce())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
