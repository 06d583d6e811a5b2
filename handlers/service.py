"""What the model server calls: `handle(data, context)`, as MMS's handler interface has it; knows no framework."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polyhost.events import get_logger
from polyhost.handlers import frameworks, import_path, lookup
from polyhost.handlers.base import Handler, HandlerRequest, HandlerResponse, Source
from polyhost.handlers.body import forms
from polyhost.handlers.errors import HandlerError, phase
from polyhost.handlers.settings import Settings

Item = Mapping[str, Any]

logger = get_logger(__name__)


class Service:
    """The one model of a process: loaded by the first call, then asked for predictions."""

    def __init__(self, handler: Handler | None = None) -> None:
        self._handler = handler

    @property
    def takes_batches(self) -> bool:
        """Whether the loaded model serves several requests together; a script, say, is asked one by one."""
        return self._handler is not None and type(self._handler).respond_all is not Handler.respond_all

    def handle(self, data: Sequence[Item] | None, context: Any) -> list[Any] | None:
        """Return the body of each response, or an exception in its place; with no data, only load the model."""
        if self._handler is None:
            self._handler = load(_source(context))
        if data is None:
            return None
        alone = len(data) > 1 and not self.takes_batches
        requests: dict[int, HandlerRequest] = {}
        responses: dict[int, HandlerResponse | Exception] = {}
        for index, item in enumerate(data):
            try:
                requests[index] = _request(item, context, index, _context_of_one(context, index) if alone else context)
            except HandlerError as error:  # a form that cannot be read; the others are served
                responses[index] = error
        responses.update(zip(requests, self._handler.respond_all(list(requests.values())), strict=True))
        for index, response in responses.items():
            if not isinstance(response, Exception):
                context.set_response_content_type(index, response.content_type)
                if response.status is not None:
                    _set_status_and_headers(context, index, response)
        return [_body(responses[index]) for index in range(len(data))]


def load(source: Source) -> Handler:
    """Choose the handler for a model, and load it. Raises HandlerError, and what a script raises."""
    name = lookup.choose(source.directory, source.settings)
    handler: Handler = frameworks.resolve(lookup.handler_class(name))(source.settings)
    handler.load(source)
    handler.check_default_accept()
    for path in (source.directory / "requirements.txt", source.directory / "code" / "requirements.txt"):
        if path.is_file() and not import_path.has_layer():
            message = (
                "%s is not installed: put modules into the archive, other packages into the image,"
                " or set POLYHOST_REQUIREMENTS"
            )
            logger.warning(message, path)
    logger.info("%s served by the %s handler", source.directory, name)
    return handler


def _set_status_and_headers(context: Any, index: int, response: HandlerResponse) -> None:
    context.set_response_status(code=response.status, idx=index)
    for name, value in (response.headers or {}).items():
        context.set_response_header(index, name, value)


def _source(context: Any) -> Source:
    properties = context.system_properties
    return Source(
        directory=Path(properties["model_dir"]),
        gpu_id=_gpu(properties.get("gpu_id")),
        settings=Settings.of_process(),
        context=context,
    )


def _gpu(value: Any) -> int | None:
    """Return the GPU's number; MMS says "none" with None or with a negative number."""
    return None if value is None or int(value) < 0 else int(value)


def _context_of_one(context: Any, index: int) -> Any:
    """Return the context of one request of a batch, in which its index is 0: a script's functions know no other.

    polyhost's worker asks for one request at a time here; MMS's own does not.
    """
    alone = copy.copy(context)
    alone.request_ids = {0: (context.request_ids or {}).get(index)}
    alone.request_processor = [context.request_processor[index]]
    return alone


def _request(item: Item, context: Any, index: int, context_of_one: Any) -> HandlerRequest:
    headers = {name.lower(): value for name, value in context.get_all_request_header(index).items()}
    attributes = headers.get("x-amzn-sagemaker-custom-attributes")
    content_type = headers.get("content-type") or ""
    if isinstance(item, forms.FormItem):
        with phase("decode"):
            body = forms.body_of(item, content_type, headers.get("content-length"))
    else:
        body = item.get("body") or item.get("data") or b""
    return HandlerRequest(
        body=body,
        content_type=content_type,
        accept=headers.get("accept") or "",
        options=_options(attributes) if attributes else {},
        context=context_of_one,
    )


def _body(response: HandlerResponse | Exception) -> Any:
    return response if isinstance(response, Exception) else response.body


def _options(attributes: str) -> dict[str, str]:
    """Parse `key=value` pairs, separated by commas, from the one header of the caller's that SageMaker passes on."""
    pairs = (part.partition("=") for part in attributes.split(",") if "=" in part)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


_service = Service()


def takes_batches() -> bool:
    """Return whether `handle` is to be called with several requests at once."""
    return _service.takes_batches


def handle(data: Sequence[Item] | None, context: Any) -> list[Any] | None:
    """Serve the process's model; the entry that settings and manifests name."""
    return _service.handle(data, context)
