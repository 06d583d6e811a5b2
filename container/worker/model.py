"""A model in this process: its handler, loaded and called as MMS's handler interface has it (mms/service.py)."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import mms
from mms.context import Context, RequestProcessor
from mms.metrics.metrics_store import MetricsStore

from polyhost.container import log
from polyhost.container.errors import BadAnswerError, Failure, LoadError, PolyhostError
from polyhost.container.layers import needs
from polyhost.container.worker import own_handler, printed, responses, surroundings
from polyhost.container.worker.inputs import decoded
from polyhost.container.worker.model_directory import why_unreadable
from polyhost.container.worker.own_handler import Entry
from polyhost.container.worker.types import Headers, Request, Response, target_model
from polyhost.events import get_logger
from polyhost.handlers import import_path, lookup
from polyhost.handlers.body import forms
from polyhost.handlers.body.forms import BadFormError
from polyhost.handlers.errors import BadModelError
from polyhost.handlers.script import main_module, stand_ins
from polyhost.handlers.settings import Settings

_MAX_LOGGED_BYTES = 10_000  # of a response with which a handler reports a failure

logger = get_logger(__name__)


@dataclass(frozen=True)
class ModelSpec:
    """What to load. `directory` holds the unpacked archive.

    `handler` is what the load request names, if anything, `default_handler` the setting (polyhost.handlers.lookup).
    `layer` holds the packages that the archive asks for (container/layers), None if they are not installed.
    """

    name: str
    directory: Path
    handler: str | None = None
    default_handler: str | None = None
    batch_size: int = 1
    gpu_id: int | None = None
    layer: Path | None = None


@dataclass
class Model:
    """A loaded model. `predict` returns a response for every request, an error of its own where it must.

    `decode_inputs`: whether a handler of the user's own gets JSON as values and text as str (MMS_DECODE_INPUT_REQUEST).
    """

    spec: ModelSpec
    context: Context
    entry: Entry
    max_response_bytes: int | None = None
    decode_inputs: bool = False
    process: int = field(default_factory=os.getpid)

    @classmethod
    def load(cls, spec: ModelSpec, max_response_bytes: int | None = None) -> "Model":
        """Find the handler and initialise it. Raises LoadError, with the status that the caller should see."""
        main_module.stand_in()
        stand_ins.install()
        process = os.getpid()
        try:
            manifest = lookup.read_manifest(spec.directory)
            context = Context(spec.name, str(spec.directory), manifest, spec.batch_size, spec.gpu_id, mms.__version__)
            context.metrics = MetricsStore({}, spec.name)
            handler = lookup.handler_name(manifest, spec.default_handler, requested=spec.handler)
            import_path.add_lib(spec.directory)
            try:
                if spec.layer is not None:
                    import_path.add_layer(spec.layer)
                entry = own_handler.load(handler, spec.directory, context)
            finally:
                printed.flush()
                surroundings.end_copies(process)
            decode_inputs = handler != lookup.SERVICE and Settings.of_process().decode_inputs
        except SystemExit:
            raise
        except BaseException as error:  # asyncio.CancelledError, too, is no Exception
            failure = Failure.of(_unreadable(error, spec.directory) or error, spec.name, "load")
            failure = replace(failure, message=failure.message + _not_installed(error, spec))
            logger.error("load failed: %s", failure.message, exc_info=error, extra={"phase": failure.phase})
            raise LoadError(failure) from error
        return cls(spec, context, entry, max_response_bytes, decode_inputs)

    def predict(self, requests: Sequence[Request]) -> list[Response]:
        """Return one response per request, in order. Exceptions of the handler become error responses."""
        if self.decode_inputs:
            return self._predict_decoded(requests)
        return self._predict(requests)

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

    def _predict_decoded(self, requests: Sequence[Request]) -> list[Response]:
        inputs = [_decoded_or_error(request) for request in requests]
        readable = [item for item in inputs if isinstance(item, Request)]
        responses = iter(self._predict(readable) if readable else ())
        return [
            next(responses) if isinstance(item, Request) else self._failed(request, item)
            for request, item in zip(requests, inputs, strict=True)
        ]

    def _predict(self, requests: Sequence[Request]) -> list[Response]:
        if len(requests) > 1 and not self.entry.takes_batches:
            # Each to its end before the next, streamed ones too: the context then knows one request at a time.
            return [self.buffered(request, *self._predict([request])) for request in requests]
        first = requests[0]
        with log.bound(request_id=first.id, target_model=partial(target_model, first.headers)):
            try:
                items = self._call(requests)
            except BadFormError as error:  # before the handler was called
                if len(requests) == 1:
                    return [self._failed(first, error)]
                return [response for request in requests for response in self._predict([request])]
            except SystemExit:
                raise
            except BaseException as error:
                return [self._failed(request, error) for request in requests]
            return [self._respond(index, request, items[index]) for index, request in enumerate(requests)]

    def _call(self, requests: Sequence[Request]) -> list[Any]:
        context = self.context
        context.request_ids = {index: request.id for index, request in enumerate(requests)}
        context.request_processor = [RequestProcessor(Headers(request.headers)) for request in requests]
        context.metrics = MetricsStore(context.request_ids, self.spec.name)
        data = [request.item for request in requests]
        forms.check_readable(data)
        try:
            returned = self.entry.call(data, context)
        finally:
            printed.flush()
            surroundings.end_copies(self.process)
        if context.metrics.store:
            logger.info("metrics", extra={"details": {"metrics": [str(metric) for metric in context.metrics.store]}})
        return responses.checked_items(returned, len(requests))

    def _respond(self, index: int, request: Request, item: Any) -> Response:
        if isinstance(item, Exception):
            return self._failed(request, item)
        chunks = None
        try:
            item = responses.whole(item)
            # First what nearly all are: for a new type, an abstract class looks at all its subclasses.
            if not isinstance(item, bytes | str) and isinstance(item, Iterator):
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
        if status >= 500:
            self._log_own_failure(request, status, body)
        encoded = None if chunks is None else responses.encode_chunks(chunks, headers, self.max_response_bytes)
        return Response(request.id, status, headers, body, phrase, encoded)

    def _log_own_failure(self, request: Request, status: int, body: bytes) -> None:
        """Log what a handler that catches its exceptions responds, as SageMaker's toolkit with their tracebacks."""
        text = body[:_MAX_LOGGED_BYTES].decode(errors="replace")
        with log.bound(request_id=request.id, target_model=request.target_model):
            logger.error("the handler responds with status %s: %s", status, text, extra={"phase": "predict"})

    def _failed(self, request: Request, error: BaseException) -> Response:
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
        return Response(request.id, failure.code, headers, failure.shortened().to_json(), phrase)


def _unreadable(error: BaseException, directory: Path) -> BadModelError | None:
    """Return an error with the remedy if a file of the model's cannot be read."""
    if not isinstance(error, PermissionError) or not isinstance(error.filename, str):
        return None
    path = directory / error.filename
    reason = why_unreadable(path) if path.is_relative_to(directory) else None
    return BadModelError(reason) if reason else None


def _not_installed(error: BaseException, spec: ModelSpec) -> str:
    """Return a hint if a module is missing, and the archive asks for packages that are not installed."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, ModuleNotFoundError):
        seen = seen.__cause__ or seen.__context__
    if seen is None or spec.layer is not None or not needs.exist(spec.directory):
        return ""
    return "; the archive has a requirements.txt, which is not installed: POLYHOST_REQUIREMENTS is off"


def _decoded_or_error(request: Request) -> Request | Exception:
    try:
        return decoded(request)
    except Exception as error:
        return error
