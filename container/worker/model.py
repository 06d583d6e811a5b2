"""A model in this process: its handler, found and initialised, and calls to it. MMS's handler contract, kept."""

import http.client
import importlib
import importlib.util
import inspect
import json
import logging
import re
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import mms
from mms.context import Context, RequestProcessor
from mms.metrics.metrics_store import MetricsStore

from polyhost.container import log
from polyhost.container.config import DEFAULT_HANDLER, SHORT_HANDLER
from polyhost.container.errors import (
    BadAnswerError,
    Failure,
    HandlerNotFoundError,
    LoadError,
    ResponseTooLargeError,
)
from polyhost.container.worker.types import Headers, Request, Response

MANIFEST = Path("MAR-INF") / "MANIFEST.json"
_FRAMING = frozenset({"connection", "content-length", "transfer-encoding"})

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_HEADER_VALUE = re.compile(r"[^\0\v\f\r\n\ud800-\udfff]*")

logger = logging.getLogger("polyhost.model")


@dataclass(frozen=True)
class ModelSpec:
    """What to load. `directory` holds the unpacked archive; `handler` is MODULE[:FUNCTION] or FILE.py[:FUNCTION]."""

    name: str
    directory: Path
    handler: str = DEFAULT_HANDLER
    batch_size: int = 1
    gpu_id: int | None = None


Entry = Callable[[Any, Any], Any]


@dataclass
class Model:
    """A loaded model. `predict` answers every request, with an error of its own where it must."""

    spec: ModelSpec
    context: Context
    entry: Entry
    max_response_bytes: int | None = None
    load_seconds: float = field(default=0.0)

    @classmethod
    def load(cls, spec: ModelSpec, max_response_bytes: int | None = None) -> "Model":
        """Finds the handler and initialises it. Raises LoadError, with the status that the caller should see."""
        start = time.monotonic()
        try:
            manifest = _read_manifest(spec.directory)
            context = Context(spec.name, str(spec.directory), manifest, spec.batch_size, spec.gpu_id, mms.__version__)
            context.metrics = MetricsStore({}, spec.name)
            entry = _initialised_entry(_handler_of(spec, manifest), spec, context)
        except Exception as error:
            failure = Failure.of(error, spec.name, "load")
            logger.error("load failed: %s", failure.message, exc_info=error, extra={"phase": failure.phase})
            raise LoadError(failure) from error
        return cls(spec, context, entry, max_response_bytes, time.monotonic() - start)

    def predict(self, requests: Sequence[Request]) -> list[Response]:
        """One response per request, in order. Exceptions of the handler become error responses."""
        first = requests[0]
        with log.bound(request_id=first.id, target_model=first.target_model):
            try:
                answers = self._call(requests)
            except Exception as error:
                return [self._failed(request, error) for request in requests]
            return [self._respond(index, request, answers[index]) for index, request in enumerate(requests)]

    def whole(self, request: Request, response: Response) -> Response:
        """The response in one piece, for who cannot pass pieces on."""
        if response.chunks is None:
            return response
        try:
            with log.bound(request_id=request.id, target_model=request.target_model):
                body = response.body + b"".join(response.chunks)
        except Exception as error:
            return self._failed(request, error)
        return self._within_limit(request, replace(response, body=body, chunks=None))

    def broken(self, request: Request, error: Exception) -> Response:
        """For the log and the caller: a handler that failed after its first pieces were sent."""
        return self._failed(request, error)

    def _call(self, requests: Sequence[Request]) -> list[Any]:
        context = self.context
        context.request_ids = {index: request.id for index, request in enumerate(requests)}
        context.request_processor = [RequestProcessor(Headers(request.headers)) for request in requests]
        context.metrics = MetricsStore(context.request_ids, self.spec.name)
        answers = self.entry([dict(request.parameters) for request in requests], context)
        if context.metrics.store:
            logger.info("metrics", extra={"details": {"metrics": [str(metric) for metric in context.metrics.store]}})
        if isinstance(answers, Iterator) and len(requests) == 1:
            return [answers]
        if not isinstance(answers, list):
            raise BadAnswerError(f"handle() returned {_kind(answers)}; it must return a list, one item per request")
        if len(answers) != len(requests):
            raise BadAnswerError(f"handle() returned {len(answers)} items for {len(requests)} requests")
        return answers

    def _respond(self, index: int, request: Request, answer: Any) -> Response:
        if isinstance(answer, Exception):
            return self._failed(request, answer)
        pieces = None
        try:
            if isinstance(answer, Iterator):
                # The first one before the head: until it is there, the handler can still fail with a status.
                answer, pieces = next(answer, b""), answer
        except Exception as error:
            return self._failed(request, error)
        try:
            status, phrase = _checked_status(*self.context.get_response_status(index))
            headers = _checked_headers(self.context.get_response_headers(index))
            body = _encode(answer, headers) if pieces is None else _encode_piece(answer, headers)
        except BadAnswerError as error:
            return self._failed(request, error)
        except Exception as error:
            return self._failed(request, BadAnswerError(f"handle() returned {_kind(answer)}: {error}"))
        encoded = None if pieces is None else _encoded(pieces, headers)
        return self._within_limit(request, Response(request.id, status, headers, body, phrase, encoded))

    def _within_limit(self, request: Request, response: Response) -> Response:
        size = len(response.body)
        if self.max_response_bytes is not None and size > self.max_response_bytes:
            return self._failed(request, _too_large(size, self.max_response_bytes))
        return response

    def _failed(self, request: Request, error: Exception) -> Response:
        failure = Failure.of(error, self.spec.name, "predict")
        with log.bound(request_id=request.id, target_model=request.target_model):
            # A refusal of the client's input is the client's news; only our own failures need a traceback.
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
        return Response(request.id, failure.code, headers, failure.to_json(), _phrase(failure.code))


# What Java's HTTP refuses must not come to it: there it would cost the connection, and nobody would be told why.


def _phrase(status: Any) -> str:
    """The usual one; without any MMS would send a status line that ends after the number."""
    return http.client.responses.get(status, "")


def _checked_status(status: Any, phrase: Any) -> tuple[int, str]:
    status = status or 200
    phrase = str(phrase or _phrase(status))
    if not (isinstance(status, int) and 200 <= status <= 599 and _HEADER_VALUE.fullmatch(phrase)):
        raise BadAnswerError(f"handle() set the status {status!r} {phrase!r}; it must be a number from 200 to 599")
    return status, phrase


def _checked_headers(headers: Mapping[Any, Any]) -> dict[str, str]:
    """Without those that are the front end's to set: a second framing would contradict its own."""
    texts = {name: str(value) for name, value in headers.items() if str(name).lower() not in _FRAMING}
    for name, value in texts.items():
        if not (isinstance(name, str) and _HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)):
            raise BadAnswerError(f"handle() set the header {name!r} to {value!r}, which HTTP cannot carry")
    return texts


def _too_large(size: int, limit: int) -> ResponseTooLargeError:
    return ResponseTooLargeError(
        f"the response has {size} bytes, the limit is {limit}; raise SAGEMAKER_MAX_REQUEST_SIZE (MB, for requests and"
        " responses)"
    )


def _kind(value: Any) -> str:
    return f"an object of type {type(value).__name__}"


def _encode(answer: Any, headers: dict[str, str]) -> bytes:
    if isinstance(answer, bytes | bytearray | memoryview):
        return bytes(answer)
    if isinstance(answer, str):
        return answer.encode()
    body = json.dumps(answer, indent=2).encode()
    headers.setdefault("content-type", "application/json")
    return body


def _encode_piece(piece: Any, headers: dict[str, str]) -> bytes:
    """Objects become JSON lines: whoever reads them as they come has to see where one ends."""
    if isinstance(piece, bytes | bytearray | memoryview | str):
        return _encode(piece, headers)
    headers.setdefault("content-type", "application/jsonlines")
    return json.dumps(piece).encode() + b"\n"


def _encoded(pieces: Iterator[Any], headers: dict[str, str]) -> Iterator[bytes]:
    try:
        for piece in pieces:
            yield _encode_piece(piece, headers)
    finally:
        if isinstance(pieces, Generator):
            pieces.close()


def _read_manifest(directory: Path) -> dict[str, Any] | None:
    path = directory / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text())
    except ValueError as error:
        raise HandlerNotFoundError(f"{MANIFEST} is not JSON: {error}") from error
    return manifest if isinstance(manifest, dict) else None


def _handler_of(spec: ModelSpec, manifest: dict[str, Any] | None) -> str:
    """The archive's own handler comes before the container's default."""
    if manifest and spec.handler == DEFAULT_HANDLER:
        handler = str((manifest.get("model") or {}).get("handler") or spec.handler)
        return DEFAULT_HANDLER if handler == SHORT_HANDLER else handler
    return spec.handler


def _initialised_entry(handler: str, spec: ModelSpec, context: Context) -> Entry:
    """MMS's contract (mms/model_loader.py): a module-level function, called once with no data; or one class."""
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
    if name == DEFAULT_HANDLER.partition(":")[0]:
        return importlib.import_module(name), function or None
    path = _handler_file(name, directory)
    if path is not None:
        _make_room_for(directory, path.parent)
        return _import_file(path), function or None
    _make_room_for(directory)
    try:
        return importlib.import_module(name), function or None
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0] and error.name != name:
            raise  # the handler was found; something that it imports is missing
        raise HandlerNotFoundError(
            f"handler {handler!r}: no file {name} in {directory} and no installed module of that name"
        ) from None


def _handler_file(name: str, directory: Path) -> Path | None:
    """A path, as it stands or below the model's folder; a bare module name may be a file there too."""
    candidates = [name] if name.endswith(".py") else [name.replace(".", "/") + ".py"]
    if not name.endswith(".py") and "/" in name:
        candidates = [name + ".py", name]
    for candidate in candidates:
        for base in (directory, directory / "code"):
            path = base / candidate  # an absolute candidate replaces the base
            if path.is_file():
                return path
    return None


def _import_file(path: Path) -> ModuleType:
    """Imports by path under the file's own name, unless that name is taken: handlers/mxnet.py must not hide MXNet."""
    name = path.stem if path.stem not in sys.modules else f"{path.stem}_handler_file"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise HandlerNotFoundError(f"handler {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _make_room_for(*folders: Path) -> None:
    """Lets the model's own modules be found, and found first, whatever they are called."""
    for folder in reversed(folders):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
