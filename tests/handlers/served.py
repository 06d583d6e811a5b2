"""One model behind the service, called as MMS calls it: with MMS's own context."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from mms.context import Context, RequestProcessor
from PIL import Image

from polyhost.handlers.service import Service

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


@dataclass(frozen=True)
class ServedResponse:
    """An item that the service returned: its body, or the exception in its place."""

    item: Any
    content_type: str | None

    @property
    def body(self) -> bytes:
        if isinstance(self.item, Exception):
            raise self.item
        return self.item.encode() if isinstance(self.item, str) else self.item

    @property
    def json(self) -> Any:
        assert self.content_type == "application/json"
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        assert isinstance(self.item, Exception), f"the response is {self.item!r}"
        return self.item

    @property
    def status(self) -> int:
        return getattr(self.error, "status", 500)


class Served:
    def __init__(self, folder: Path, gpu_id: int | None = None) -> None:
        self._service = Service()
        self.context = Context("model", str(folder), {}, 1, gpu_id, "1.1.11")
        assert self._service.handle(None, self.context) is None

    def post(self, body: bytes | str, content_type: str = "application/json", **headers: str) -> ServedResponse:
        return self.post_all((body, {"Content-Type": content_type, **headers}))[0]

    def post_all(self, *requests: tuple[bytes | str, dict[str, str]]) -> list[ServedResponse]:
        bodies = [body.encode() if isinstance(body, str) else body for body, _ in requests]
        return self._handle([{"body": bytearray(body)} for body in bodies], [headers for _, headers in requests])

    def post_item(self, item: dict[str, Any], content_type: str) -> ServedResponse:
        """Post what a front end made of a request."""
        return self.post_items((item, content_type))[0]

    def post_items(self, *requests: tuple[dict[str, Any], str]) -> list[ServedResponse]:
        return self._handle([item for item, _ in requests], [{"Content-Type": kind} for _, kind in requests])

    def _handle(self, data: list[dict[str, Any]], headers: list[dict[str, str]]) -> list[ServedResponse]:
        self.context.request_processor = [RequestProcessor(each) for each in headers]
        items = self._service.handle(data, self.context)
        assert items is not None and len(items) == len(data)
        return [ServedResponse(item, self.context.get_response_content_type(index)) for index, item in enumerate(items)]


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    numpy.save(stream, numpy.asarray(array), allow_pickle=True)
    return stream.getvalue()


def picture(pixels: Any, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(numpy.asarray(pixels, dtype=numpy.uint8)).save(stream, form)
    return stream.getvalue()
