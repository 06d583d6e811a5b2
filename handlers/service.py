"""What the model server calls: `handle(data, context)`. Knows MMS's handler contract and nothing of any framework."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polyhost.handlers import frameworks, lookup
from polyhost.handlers.base import Handler, Request, Source
from polyhost.handlers.settings import Settings

logger = logging.getLogger(__name__)

Item = Mapping[str, Any]


class Service:
    """One model in one process: loaded once, then asked."""

    def __init__(self) -> None:
        self._handler: Handler | None = None

    def handle(self, data: Sequence[Item] | None, context: Any) -> list[Any] | None:
        if self._handler is None:
            self._handler = load(context)
        if data is None:
            return None
        answers = self._handler.answers([_request(item, context, index) for index, item in enumerate(data)])
        for index, answer in enumerate(answers):
            if not isinstance(answer, Exception):
                context.set_response_content_type(index, answer.content_type)
        return [answer if isinstance(answer, Exception) else answer.body for answer in answers]


def load(context: Any) -> Handler:
    source = _source(context)
    name = lookup.choose(source.directory, source.settings)
    handler: Handler = frameworks.resolve(lookup.handler_class(name))(source.settings)
    handler.load(source)
    handler.check_default_accept()
    for path in (source.directory / "requirements.txt", source.directory / "code" / "requirements.txt"):
        if path.is_file():
            logger.warning("%s is not installed: put modules into the archive, other packages into the image", path)
    logger.info("%s served by the %s handler", source.directory, name)
    return handler


def _source(context: Any) -> Source:
    properties = context.system_properties
    return Source(
        directory=Path(properties["model_dir"]),
        gpu_id=_gpu(properties.get("gpu_id")),
        settings=Settings.of_process(),
        context=context,
    )


def _gpu(value: Any) -> int | None:
    """MMS says "no GPU" with None or with a negative number."""
    return None if value is None or int(value) < 0 else int(value)


def _request(item: Item, context: Any, index: int) -> Request:
    headers = {name.lower(): value for name, value in context.get_all_request_header(index).items()}
    return Request(
        body=item.get("body") or item.get("data") or b"",
        content_type=headers.get("content-type") or "",
        accept=headers.get("accept") or "",
        options=_options(headers.get("x-amzn-sagemaker-custom-attributes") or ""),
        context=context,
    )


def _options(attributes: str) -> dict[str, str]:
    """`key=value` pairs, separated by commas: the one header of the caller's that SageMaker hands through."""
    pairs = (part.partition("=") for part in attributes.split(",") if "=" in part)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


_service = Service()


def handle(data: Sequence[Item] | None, context: Any) -> list[Any] | None:
    return _service.handle(data, context)
