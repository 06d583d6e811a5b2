"""An instance of a variant: its container, kept alive, and the models in it."""

import asyncio
import shutil
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from polyhost.emulator.errors import ContainerError, ContainerGone, ContainerTimeout, HostingError, ModelNotReady
from polyhost.emulator.hosting.container_client import ContainerClient
from polyhost.emulator.hosting.downloads import ModelSource
from polyhost.emulator.hosting.faults import Faults
from polyhost.emulator.hosting.instance_types import TYPES
from polyhost.emulator.hosting.interfaces import Answer, Call, Container, Driver, Launch, Usage, VariantSpec
from polyhost.emulator.hosting.model_cache import ModelCache, ModelCopy
from polyhost.emulator.hosting.model_url import ModelData
from polyhost.emulator.telemetry.recorder import EventKind, Place, Recorder

PING_EVERY_S = 5.0  # as container logs of real endpoints show
PINGS_MISSED = 3
STOP_GRACE_S = 7.0  # SageMaker gives 30 s; the emulator promises to be gone within 10, and closes its page in 2
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0  # a container that lived as long is started anew at once
KEPT_LINES = 40
LOAD_OVER_S = 0.9


@dataclass(frozen=True)
class Platform:
    """What every instance needs of the emulator. `folder`: where instances have their disks."""

    driver: Driver
    source: ModelSource
    recorder: Recorder
    faults: Faults
    http: aiohttp.ClientSession
    folder: Path
    memory_scale: float = 1.0


class ProcessorLoad:
    """Percent of a core, over a second or more."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._cpu_s = 0.0
        self._percent: float | None = None

    def percent(self, usage: Usage | None) -> float | None:
        elapsed = time.monotonic() - self._since
        if usage is None:
            self._percent = None
        elif elapsed >= LOAD_OVER_S:
            spent = usage.cpu_s - self._cpu_s
            # Less than before: of another container, or processes of this one have ended.
            self._percent = round(100 * max(0.0, spent) / elapsed, 1)
            self._since, self._cpu_s = time.monotonic(), usage.cpu_s
        return self._percent


class Instance:
    """Statuses: Creating, InService, Restarting, Stopped."""

    def __init__(self, platform: Platform, place: Place, spec: VariantSpec) -> None:
        self.id = place.instance
        self.status = "Creating"
        self.restarts = 0
        self.outstanding = 0
        self.memory_limit = int(TYPES[spec.instance_type].memory_bytes * platform.memory_scale)
        self._usage: Usage | None = None
        self._processor = ProcessorLoad()
        self._platform = platform
        self._place = place
        self._spec = spec
        self._folder = platform.folder / self.id
        self._words: deque[str] = deque(maxlen=KEPT_LINES)
        self._container: Container | None = None
        self._client: ContainerClient | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._doubted = False
        self._launches = 0
        self.cache: ModelCache | None = None
        if spec.container.multi_model:
            self.cache = ModelCache(
                place, spec, self._folder / "models", platform.source, platform.recorder, platform.faults, self._memory
            )

    @property
    def in_service(self) -> bool:
        return self.status == "InService" and not self._doubted

    @property
    def last_words(self) -> str:
        return "\n".join(self._words)[-700:]  # FailureReason has room for 1024 characters

    # Its life

    async def start(self) -> None:
        """Raises ContainerError or DownloadError and then leaves nothing behind."""
        try:
            for name in ("models", "state"):
                (self._folder / name).mkdir(parents=True)
            if self.cache is None:
                await self._provide_model()
            await self._launch()
        except BaseException:
            await self._end_container()
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self.status = "InService"
        self._event(EventKind.INSTANCE, "in service")
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        self.status = "Stopped"
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self.cache is not None:
            await self.cache.close()
        await self._end_container()
        await asyncio.to_thread(shutil.rmtree, self._folder, True)
        self._event(EventKind.INSTANCE, "stopped")
        self._platform.recorder.remove(self._place)

    async def _provide_model(self) -> None:
        """The one model's archive, unpacked into `model` before the container starts."""
        folder = self._folder / "model"
        url = self._spec.container.model_data_url
        if url is None:  # the image brings its model
            folder.mkdir()
            return
        fetch = self._platform.source.fetch
        data = ModelData.parse(url)
        await fetch(data, folder, self._spec.volume_bytes, self._spec.download_timeout_s, self._place.region)

    async def _launch(self) -> None:
        self._launches += 1
        self._words.clear()
        launch = Launch(
            name=f"{self._place.endpoint.lower()}-{self.id}-{self._launches}",
            image=self._spec.container.image,
            environment=self._spec.container.environment,
            folder=self._folder,
            multi_model=self.cache is not None,
            memory_bytes=self.memory_limit,
            on_line=self._take_line,
        )
        self._container = await self._platform.driver.start(launch)
        self._client = ContainerClient(self._platform.http, self._container.url)
        await self._until_healthy(self._container, self._client)
        self._doubted = False
        if self.cache is not None:
            self.cache.attach(self._client, self._container.models_folder)

    async def _until_healthy(self, container: Container, client: ContainerClient) -> None:
        end = asyncio.create_task(container.wait())
        deadline = time.monotonic() + self._spec.startup_timeout_s
        try:
            while True:
                healthy = await client.ping()
                done, _ = await asyncio.wait({end}, timeout=0 if healthy else 0.05)
                if done:  # whoever answered then is another process, which took the port
                    raise ContainerError(f"the container ended with status {end.result()}: {self.last_words}")
                if healthy:
                    return
                if time.monotonic() > deadline:
                    limit = self._spec.startup_timeout_s
                    raise ContainerError(f"no 200 from /ping within {limit:.0f} s: {self.last_words}")
        finally:
            end.cancel()

    async def _keep(self) -> None:
        """Starts the container anew whenever it has ended, or no longer answers."""
        pause = 0.0
        while True:
            born = time.monotonic()
            try:
                reason = await self._until_lost()
            except Exception as error:  # nothing that goes wrong here may leave the instance without a keeper
                reason = f"the container could not be watched: {error!r}"
            if time.monotonic() - born > STEADY_S:
                pause = 0.0
            self.status = "Restarting"
            last = "\n".join(list(self._words)[-3:])
            self._event(EventKind.RESTARTED, f"{reason}; starting a new one{last and f'. Its last words: {last}'}")
            if self.cache is not None:
                self.cache.detach()
            began = time.monotonic()
            while True:
                ended = await self._has_ended()
                await asyncio.sleep(pause)
                pause = min(max(FIRST_PAUSE_S, pause * 2), LONGEST_PAUSE_S)
                try:
                    if ended:
                        await self._launch()
                        break
                except Exception as error:
                    words = str(error) if isinstance(error, HostingError | OSError) else repr(error)
                    self._event(EventKind.FAILED, f"{words}; again in {pause:.1f} s")
            self.restarts += 1
            self.status = "InService"
            self._event(EventKind.INSTANCE, f"in service again after {time.monotonic() - began:.1f} s")

    async def _until_lost(self) -> str:
        """Why the container has to be replaced, once it has to."""
        assert self._container is not None and self._client is not None
        end = asyncio.create_task(self._container.wait())
        missed = 0
        try:
            while missed < PINGS_MISSED:
                done, _ = await asyncio.wait({end}, timeout=PING_EVERY_S)
                if done:
                    return f"the container ended with status {end.result()}"
                missed = 0 if await self._answers(self._client) else missed + 1
            await self._container.kill()  # nor would it heed SIGTERM
            return f"the container missed {missed} pings"
        finally:
            end.cancel()

    async def _answers(self, client: ContainerClient) -> bool:
        alive = await client.ping()
        if alive and client is self._client:
            self._doubted = False
        return alive

    async def _has_ended(self) -> bool:
        try:
            await self._end_container()
        except Exception as error:
            self._event(EventKind.FAILED, f"the container does not end: {error!r}")
            return False
        return True

    async def _end_container(self) -> None:
        """Can be called again where it was cut short."""
        self._client = None
        if self._container is not None:
            await self._container.stop(STOP_GRACE_S)
            self._container = None

    # Calls

    def copies_of(self, model: str) -> ModelCopy | None:
        return self.cache.copies.get(model) if self.cache is not None else None

    async def invoke(self, call: Call) -> Answer:
        """Raises ModelNotReady, and every kind of HostingError."""
        self.outstanding += 1
        try:
            if self._take("time-out", call):
                raise ContainerTimeout("a fault on demand: the container gave no answer in time")
            if self._take("kill-container", call) and self._container is not None:
                self._event(EventKind.FAULT, "the container is killed on demand")
                await self._container.kill()
            if self.cache is None:
                return await self._ask(None, call)
            assert call.target_model is not None
            return await self._invoke_model(self.cache, call.target_model, call)
        except ContainerGone:
            # A container that was killed accepts connections until its last socket is closed. None of the next calls
            # is to be lost like that: they go elsewhere, or wait, until it answers again or has been replaced.
            self._doubted = True
            if self._client is not None:
                await self._answers(self._client)
            raise
        finally:
            self.outstanding -= 1

    async def _invoke_model(self, cache: ModelCache, name: str, call: Call) -> Answer:
        waited_us, hit = 0, True
        for attempt in (1, 2):
            copy = cache.loaded(name)
            if copy is None:
                hit = False
                waited_us += await self._wait_for(cache, name, call)
                copy = cache.loaded(name)
                if copy is None:  # gone again before its turn
                    continue
            cache.enter(copy)
            try:
                answer = await self._ask(copy.key, call)
            finally:
                cache.leave(copy)
            if answer.status == 404 and attempt == 1 and not await self._knows(copy.key):
                cache.forget(copy)
                continue
            copy.usage.latencies_ms.append(answer.container_us / 1e3)
            copy.usage.errors += answer.status >= 400
            self._measure("ModelCacheHit", float(hit), "None", name)
            if not hit:
                self._measure("ModelLoadingWaitTime", waited_us, "Microseconds", name)
            return replace(answer, waited_us=waited_us, cache_hit=hit)
        raise ContainerGone(f"{name} was unloaded as often as it was loaded")

    async def _wait_for(self, cache: ModelCache, name: str, call: Call) -> int:
        """Microseconds."""
        start = time.monotonic()
        try:
            async with asyncio.timeout(call.timeout_s):
                await cache.load(name)
        except TimeoutError:
            raise ModelNotReady(
                f"Model {name} is not ready for inference: it is still being downloaded or loaded. Try again."
            ) from None
        return int((time.monotonic() - start) * 1e6)

    async def _ask(self, key: str | None, call: Call) -> Answer:
        if self._client is None:
            raise ContainerGone("the container is not running", may_retry=True)
        return await self._client.invoke(key, call.body, call.headers, call.timeout_s, call.relay)

    async def _knows(self, key: str) -> bool:
        """Whether the 404 was the model's own answer."""
        return self._client is not None and await self._client.is_loaded(key)

    # Telling

    async def _memory(self) -> tuple[int, int]:
        container = self._container
        self._usage = await container.usage() if container is not None else None
        return self._usage.memory_bytes if self._usage is not None else 0, self.memory_limit

    async def snapshot(self) -> dict[str, Any]:
        """`memory_used` and `cpu_percent` are None where they are not known."""
        used, limit = await self._memory()
        return {
            "id": self.id,
            "status": self.status,
            "pid": self._container.pid if self._container is not None else None,
            "url": self._container.url if self._container is not None else None,
            "restarts": self.restarts,
            "memory_used": used if self._usage is not None else None,
            "memory_limit": limit,
            "cpu_percent": self._processor.percent(self._usage),
            "disk_used": self.cache.disk_used if self.cache is not None else 0,
            "disk_limit": self._spec.volume_bytes,
            "outstanding": self.outstanding,
            "models": self.cache.snapshot() if self.cache is not None else [],
        }

    def _take_line(self, line: str) -> None:
        self._words.append(line)
        self._platform.recorder.log_line(self._place, line)

    def _take(self, kind: Any, call: Call) -> Any:
        return self._platform.faults.pending and self._platform.faults.take(
            kind, self._place.endpoint, self._place.variant, call.target_model or ""
        )

    def _measure(self, name: str, value: float, unit: str, model: str) -> None:
        self._platform.recorder.measure(name, value, unit, self._place, model)

    def _event(self, kind: EventKind, message: str) -> None:
        self._platform.recorder.event(kind, self._place, message)
