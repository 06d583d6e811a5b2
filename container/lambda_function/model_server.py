"""The models in a function's memory: a process for each, as long as they fit."""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from polyhost.container.config import Config
from polyhost.container.errors import INSUFFICIENT_STORAGE, Failure, LoadError, WorkerDiedError
from polyhost.container.lambda_function.model_process import ModelFiles, ModelProcess
from polyhost.container.lambda_function.zygote import FunctionZygote
from polyhost.container.log_formats import PlainEvent
from polyhost.container.memory.admission import AdmissionControl
from polyhost.container.memory.gauge import MemoryGauge
from polyhost.container.native.decoder import GarbledReplyError, WorkerResponse
from polyhost.events import get_logger
from polyhost.handlers import lookup
from polyhost.handlers.frameworks import BARE
from polyhost.handlers.settings import Settings

_JSON = [(b"content-type", b"application/json")]

logger = get_logger(__name__)


@dataclass(frozen=True)
class LoadResult:
    """An `ApiResponse`."""

    status: int
    body: bytes = b""


class FunctionModelServer:
    """A `ModelServer` whose models are processes of this function.

    `target_of` returns the name that clients know a version by; `on_event` gets what models log.
    """

    def __init__(
        self,
        config: Config,
        run_dir: Path,
        zygote: FunctionZygote,
        memory: MemoryGauge,
        target_of: Callable[[str], str],
        on_event: Callable[[PlainEvent], None],
    ) -> None:
        self._config = config
        self._run_dir = run_dir
        self._zygote = zygote
        self._target_of = target_of
        self._on_event = on_event
        self._admission = AdmissionControl(memory, config)
        self._sequences = itertools.count(1)
        self._processes: dict[str, ModelProcess] = {}
        self._files: dict[str, ModelFiles] = {}
        self._loading: dict[str, int] = {}  # bytes that admitted loads are yet to take

    async def load(self, key: str, url: str, target_model: str) -> LoadResult:
        """Load a model if it fits; otherwise 507, after which the cache unloads the one that was used longest ago."""
        name = self._target_of(target_model)
        fingerprint = self._admission.fingerprint(self._framework_of(url), Path(url))
        admission = self._admission.decide(fingerprint, self._loading.values())
        if not admission.fits:
            failure = Failure(INSUFFICIENT_STORAGE, "InsufficientMemoryError", str(admission), name, "load")
            return LoadResult(failure.code, failure.to_json())
        self._files[key] = ModelFiles(name, url, self._run_dir / "tmp" / key, fingerprint)
        self._loading[key] = admission.need
        try:
            await self._start(key, admission.free)
        except LoadError as error:
            return LoadResult(error.status, error.failure.to_json())
        finally:
            del self._loading[key]
        return LoadResult(200)

    async def unload(self, key: str) -> LoadResult:
        files = self._files.pop(key, None)
        process = self._processes.pop(key, None)
        if process is not None:
            await process.stop()
        return LoadResult(404 if files is None else 200)

    async def invoke(self, key: str, invocation: bytes, timeout_s: float) -> WorkerResponse:
        """Have a loaded model predict. A model whose process has died is loaded anew, in the next call at the latest.

        Raises ZygoteLostError.
        """
        name = self._files[key].name
        try:
            async with asyncio.timeout(timeout_s):
                process = self._processes.get(key)
                if process is None or not process.alive:
                    process = await self._start(key, self._free_for(key))
                return await process.predict(invocation)
        except LoadError as error:
            return _failed(error.failure)
        except TimeoutError:
            await self._end(key)
            message = (
                f"no response within {timeout_s:.1f} s; the model's process was killed. Raise the function's Timeout"
            )
            return _failed(Failure(504, "DeadlineError", message, name, "predict"))
        except (WorkerDiedError, GarbledReplyError) as error:
            await self._end(key)
            failure = Failure.of(error, name, "predict")
            logger.error("%s", failure.message, extra={"model": name, "phase": "predict"})
            return _failed(failure)
        finally:
            if (process := self._processes.get(key)) is not None:
                process.flush_log()
                self._admission.measure([process])

    async def _start(self, key: str, memory_bytes: int) -> ModelProcess:
        await self._end(key)
        process = self._processes[key] = ModelProcess(self._files[key], self._zygote, self._config.max_payload_bytes)
        try:
            async with asyncio.timeout(self._config.load_timeout_s):
                await process.start(next(self._sequences), memory_bytes, self._on_event)
        except TimeoutError:
            await self._end(key)
            message = f"not loaded within {self._config.load_timeout_s} s (POLYHOST_LOAD_TIMEOUT_SECONDS)"
            raise LoadError(Failure(504, "DeadlineError", message, self._files[key].name, "load")) from None
        except OSError as error:
            await self._end(key)
            raise LoadError(Failure.of(error, self._files[key].name, "load")) from error
        except BaseException:
            await self._end(key)
            raise
        process.flush_log()
        self._admission.measure([process])
        return process

    def _free_for(self, key: str) -> int:
        """Return what a model may allocate that was loaded already, and had room then."""
        admission = self._admission.decide(self._files[key].fingerprint, self._loading.values())
        return max(admission.free, admission.need)

    async def _end(self, key: str) -> None:
        if (process := self._processes.pop(key, None)) is not None:
            await process.stop()

    def _framework_of(self, directory: str) -> str:
        return lookup.framework_of(Path(directory), self._config.handler, Settings.of_process()) or BARE


def _failed(failure: Failure) -> WorkerResponse:
    return WorkerResponse(b"", failure.code, b"", _JSON, failure.shortened().to_json())
