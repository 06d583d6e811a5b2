"""A model in this process: its handler, loaded and called as MMS's handler interface has it (mms/model_loader.py)."""

import importlib
import importlib.util
import inspect
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import mms
from mms.context import Context, RequestProcessor
from mms.metrics.metrics_store import MetricsStore

from polyhost.container import log
from polyhost.container.errors import BadAnswerError, Failure, LoadError, PolyhostError
from polyhost.container.worker import printed, responses
from polyhost.container.worker.types import Headers, Request, Response
from polyhost.events import get_logger
from polyhost.handlers import import_path, lookup, main_module, stand_ins
from polyhost.handlers.errors import HandlerNotFoundError

logger = get_logger(__name__)


@dataclass(frozen=True)
class ModelSpec:
    """What to load. `directory` holds the unpacked archive; `handler` is named as polyhost.handlers.lookup says."""

    name: str
    directory: Path
    handler: str = lookup.SERVICE
    batch_size: int = 1
    gpu_id: int | None = None


Entry = Callable[[Any, Any], Any]


@dataclass
class Model:
    """A loaded model. `predict` returns a response for every request, an error of its own where it must."""

    spec: ModelSpec
    context: Context
    entry: Entry
    max_response_bytes: int | None = None

    @classmethod
    def load(cls, spec: ModelSpec, max_response_bytes: int | None = None) -> "Model":
        """Find the handler and initialise it. Raises LoadError, with the status that the caller should see."""
        main_module.stand_in()
        stand_ins.install()
        try:
            manifest = lookup.read_manifest(spec.directory)
            context = Context(spec.name, str(spec.directory), manifest, spec.batch_size, spec.gpu_id, mms.__version__)
            context.metrics = MetricsStore({}, spec.name)
            try:
                entry = _initialised_entry(lookup.handler_name(manifest, spec.handler), spec, context)
            finally:
                printed.flush()
        except Exception as error:
            failure = Failure.of(error, spec.name, "load")
            logger.error("load failed: %s", failure.message, exc_info=error, extra={"phase": failure.phase})
            raise LoadError(failure) from error
        return cls(spec, context, entry, max_response_bytes)

    def predict(self, requests: Sequence[Request]) -> list[Response]:
        """Return one response per request, in order. Exceptions of the handler become error responses."""
        first = requests[0]
        with log.bound(request_id=first.id, target_model=first.target_model):
            try:
                items = self._call(requests)
            except Exception as error:
                return [self._failed(request, error) for request in requests]
            return [self._respond(index, request, items[index]) for index, request in enumerate(requests)]

    def buffered(self, request: Request, response: Response) -> Response:
        """Return a streamed response in one, for a front end that cannot stream."""
        if response.chunks is None:
            return response
        try:
            with log.bound(request_id=request.id, target_model=request.target_model):
                body = response.body + b"".join(response.chunks)
                printed.flush()
            responses.check_size(len(body), self.max_response_bytes)
        except Exception as error:
            return self._failed(request, error)
        return replace(response, body=body, chunks=None)

    def stream_failure(self, request: Request, error: Exception) -> Response:
        """Log, and return, the failure of a handler after its first chunks were sent."""
        return self._failed(request, error)

    def _call(self, requests: Sequence[Request]) -> list[Any]:
        context = self.context
        context.request_ids = {index: request.id for index, request in enumerate(requests)}
        context.request_processor = [RequestProcessor(Headers(request.headers)) for request in requests]
        context.metrics = MetricsStore(context.request_ids, self.spec.name)
        try:
            returned = self.entry([dict(request.parameters) for request in requests], context)
        finally:
            printed.flush()
        if context.metrics.store:
            logger.info("metrics", extra={"details": {"metrics": [str(metric) for metric in context.metrics.store]}})
        return responses.checked_items(returned, len(requests))

    def _respond(self, index: int, request: Request, item: Any) -> Response:
        if isinstance(item, Exception):
            return self._failed(request, item)
        chunks = None
        try:
            item = responses.whole(item)
            if isinstance(item, Iterator):
                # The first chunk before the head: until it is there, the handler can still fail with a status.
                item, chunks = next(item, b""), item
        except Exception as error:
            return self._failed(request, error)
        try:
            status, phrase = responses.checked_status(*self.context.get_response_status(index))
            headers = responses.checked_headers(self.context.get_response_headers(index))
            body = responses.encode(item, headers) if chunks is None else responses.encode_chunk(item, headers)
            responses.check_size(len(body), self.max_response_bytes)
        except PolyhostError as error:
            return self._failed(request, error)
        except Exception as error:
            return self._failed(request, BadAnswerError(f"handle() returned {responses.kind_of(item)}: {error}"))
        encoded = None if chunks is None else responses.encode_chunks(chunks, headers)
        return Response(request.id, status, headers, body, phrase, encoded)

    def _failed(self, request: Request, error: Exception) -> Response:
        failure = Failure.of(error, self.spec.name, "predict")
        with log.bound(request_id=request.id, target_model=request.target_model):
            # A rejected input is the client's matter; only our own failures need a traceback.
            trace = error if failure.code >= 500 else None
            logger.log(
                logging.ERROR if trace else logging.WARNING,
                "%s %s: %s",
                failure.code,
                failure.type,
                failure.message,
                exc_info=trace,
                extra={"phase": failure.phase},
            )
        headers = {"content-type": "application/json"}
        phrase = responses.reason_phrase(failure.code)
        return Response(request.id, failure.code, headers, failure.to_json(), phrase)


def _initialised_entry(handler: str, spec: ModelSpec, context: Context) -> Entry:
    """Return what to call for requests: a module's function, called once with no data, or one class's `handle`."""
    module, function = _import_handler(handler, spec.directory)
    entry = getattr(module, function or "handle", None)
    if callable(entry):
        entry(None, context)
        return entry  # type: ignore[no-any-return]
    if function:
        raise HandlerNotFoundError(f"{handler}: {module.__name__} has no function {function}")
    service = _handler_class(module, handler)()
    initialize = getattr(service, "initialize", None)
    if initialize is not None:
        initialize(context)
    return service.handle  # type: ignore[no-any-return]


def _handler_class(module: ModuleType, handler: str) -> Any:
    own = [
        value
        for _, value in inspect.getmembers(module, inspect.isclass)
        if value.__module__ == module.__name__ and callable(getattr(value, "handle", None))
    ]
    if len(own) != 1:
        found = ", ".join(value.__name__ for value in own) or "none"
        raise HandlerNotFoundError(
            f"{handler}: a handler module needs a function handle(data, context) or one class with a method handle;"
            f" classes found: {found}"
        )
    return own[0]


def _import_handler(handler: str, directory: Path) -> tuple[ModuleType, str | None]:
    name, _, function = handler.partition(":")
    if handler == lookup.SERVICE:
        return importlib.import_module(name), function
    path = lookup.handler_file(name, directory)
    if path is not None:
        import_path.put_first(path.parent, directory)
        return _import_file(path), function or None
    import_path.put_first(*lookup.module_roots(directory))
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0] and error.name != name:
            raise  # the handler was found; something that it imports is missing
        raise HandlerNotFoundError(
            f"handler {handler!r}: no file {name} in {directory} and no installed module of that name"
        ) from None
    main_module.stand_in().add(module)
    return module, function or None


def _import_file(path: Path) -> ModuleType:
    """Import by path under the file's own name, unless that name is taken: a handler mxnet.py must not hide MXNet."""
    name = path.stem if path.stem not in sys.modules else f"{path.stem}_handler_file"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise HandlerNotFoundError(f"handler {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    main_module.stand_in().add(module)
    spec.loader.exec_module(module)
    return module
