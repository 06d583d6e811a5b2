"""The function itself: what awslambdaric calls with each event."""

import asyncio
import os
import shutil
import sys
import uuid
import weakref
from collections.abc import Mapping
from typing import Any, Protocol

from polyhost import events as polyhost_events
from polyhost.container import log
from polyhost.container.errors import ConfigError, Failure
from polyhost.container.lambda_function import answers, events
from polyhost.container.lambda_function.events import BadEventError, FunctionRequest
from polyhost.container.lambda_function.memory import FunctionMemory
from polyhost.container.lambda_function.model_server import FunctionModelServer
from polyhost.container.lambda_function.settings import FunctionSettings
from polyhost.container.lambda_function.zygote import FunctionZygote, ZygoteLostError
from polyhost.container.log_formats import PlainEvent, to_json, to_text
from polyhost.container.model_store.errors import NOT_READY, failure_of
from polyhost.container.model_store.serving import ServingVersion
from polyhost.container.model_store.source.store import ModelStore
from polyhost.container.model_store.start_loads import StartLoads
from polyhost.container.model_store.target_models import TargetModels
from polyhost.container.native.encoder import encode_headers, encode_invocation, encode_parameters
from polyhost.events import get_logger
from polyhost.model_cache.errors import ModelServingError

# Lambda breaks an initialization off after 10 s, and begins anew. What is not loaded then is loaded by a call.
_INIT_S = 8.0
# At the function's time-out Lambda kills all its processes, so the answer has to come first.
_MARGIN_S, _MARGIN_SHARE = 0.5, 0.1

logger = get_logger(__name__)


class InvocationContext(Protocol):
    """What awslambdaric says of a call."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int: ...


class Function:
    """Serves the models of a store. Each is loaded once per environment, by the first call that names it."""

    def __init__(self, settings: FunctionSettings, zygote: FunctionZygote, runner: asyncio.Runner) -> None:
        store = settings.config.store
        assert store is not None
        self._settings = settings
        self._runner = runner
        self._zygote = zygote
        self._format = to_json if settings.config.log_json else to_text
        self._server = FunctionModelServer(
            settings.config,
            settings.run_dir,
            zygote,
            FunctionMemory(settings.memory_bytes),
            lambda version_id: self._targets.target_of(version_id),
            self._write,
        )
        self._targets = TargetModels(store, ModelStore(store, settings.variables), self._server)
        self._start_loads = StartLoads(self._targets, store.load_at_start)

    @classmethod
    def start(cls, environ: Mapping[str, str] = os.environ) -> "Function":
        """Do what is done once: import the frameworks, load POLYHOST_LOAD_AT_START. Raises ConfigError."""
        settings = FunctionSettings.read(environ)
        config = settings.config
        form = to_json if config.log_json else to_text
        # The runtime has set up `logging`, which stays as it is.
        polyhost_events.send_to(log.LogSink(form, log.SharedDescriptor(log.STDOUT)), config.log_level)
        try:
            zygote = FunctionZygote.start(config, settings.run_dir)
        except OSError as error:
            raise ConfigError(f"no process can be forked: {error}; raise the function's MemorySize") from error
        runner = asyncio.Runner()
        function = cls(settings, zygote, runner)
        weakref.finalize(function, shutil.rmtree, settings.run_dir, ignore_errors=True)
        runner.run(function._initialize())
        return function

    def __call__(self, event: Any, context: InvocationContext) -> dict[str, Any]:
        """Answer one event. Raises ModelInvocationError where the caller expects no response of HTTP."""
        by_http = events.is_http(event)
        try:
            return self._runner.run(self._answer(events.read(event), context))
        except BadEventError as error:
            logger.warning("400 %s: %s", error.type, error)
            return answers.of_failure(Failure.of(error, "", "request"), by_http)
        except ZygoteLostError as error:
            # Nothing can be loaded any more. Lambda answers with Runtime.ExitError, and starts a new environment.
            logger.error("%s; this environment ends", error)
            sys.exit(1)

    async def _initialize(self) -> None:
        self._zygote.watch()
        self._targets.start()
        try:
            async with asyncio.timeout(_INIT_S):
                await self._zygote.until_ready()
                await self._start_loads.run()
        except TimeoutError:
            logger.warning("not all is loaded %g s after the start; the first calls go on with it", _INIT_S)

    async def _answer(self, request: FunctionRequest, context: InvocationContext) -> dict[str, Any]:
        left_s = context.get_remaining_time_in_millis() / 1000
        deadline = asyncio.get_running_loop().time() + left_s - min(_MARGIN_S, left_s * _MARGIN_SHARE)
        name = request.target or self._settings.default_model
        if not name:
            raise BadEventError(
                f"the request names no model: send the header {events.TARGET_MODEL}, such as churn.tar.gz, or"
                " TargetModel in the event; or let POLYHOST_LOAD_AT_START name the one for all requests"
            )
        serving = self._targets.target(name)
        if serving is None:
            loaded = await self._load(name, deadline)
            if isinstance(loaded, Failure):
                logger.warning("%s %s: %s", loaded.code, loaded.type, loaded.message, extra={"target_model": name})
                return answers.of_failure(loaded, request.by_http)
            serving = loaded
        self._targets.acquire(serving)
        try:
            left_s = deadline - asyncio.get_running_loop().time()
            invocation = _encoded(request, context.aws_request_id)
            response = await self._server.invoke(serving.copy.key, invocation, left_s)
        finally:
            self._targets.release(serving)
        return answers.of_response(response, name, request.by_http)

    async def _load(self, name: str, deadline: float) -> ServingVersion | Failure:
        try:
            async with asyncio.timeout_at(deadline):
                return await self._targets.load(name)
        except TimeoutError:
            message = "not loaded within the function's Timeout; the load goes on in the next call"
            return Failure(504, NOT_READY, message, name, "load")
        except ModelServingError as error:
            return failure_of(error, name)

    def _write(self, event: PlainEvent) -> None:
        log.write_all(1, (self._format(event) + "\n").encode(errors="backslashreplace"))


def _encoded(request: FunctionRequest, request_id: str) -> bytes:
    headers = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in request.headers]
    return encode_invocation(
        (request_id or uuid.uuid4().hex).encode(),
        encode_headers(headers),
        encode_parameters(request.parameters),
        request.body,
    )
