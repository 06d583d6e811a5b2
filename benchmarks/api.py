"""A client of the container's API with as little of its own time as Python allows: one kept connection."""

import http.client
import json
from types import TracebackType
from typing import Self

from benchmarks.models import Copy

TIMEOUT_S = 120


class AnswerError(Exception):
    """The server answered with something else than 200: a measurement of errors is worth nothing."""


class Api:
    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def ping(self) -> None:
        self._call("GET", "/ping")

    def load(self, copy: Copy) -> None:
        body = json.dumps({"model_name": copy.name, "url": str(copy.folder)}).encode()
        self._call("POST", "/models", body, "application/json")

    def invoke(self, copy: Copy, body: bytes) -> bytes:
        return self._call("POST", invocations(copy), body, copy.kind.content_type)

    def unload(self, copy: Copy) -> None:
        self._call("DELETE", f"/models/{copy.name}")

    def exchange(self, method: str, path: str, body: bytes = b"", content_type: str = "") -> tuple[int, bytes]:
        """The answer's status and body, whatever it says."""
        headers = {"Content-Type": content_type} if content_type else {}
        self._connection.request(method, path, body or None, headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def _call(self, method: str, path: str, body: bytes = b"", content_type: str = "") -> bytes:
        status, answer = self.exchange(method, path, body, content_type)
        if status != http.client.OK:
            raise AnswerError(f"{method} {path} was answered with {status}: {answer[:500].decode()}")
        return answer


def invocations(copy: Copy) -> str:
    return f"/models/{copy.name}/invoke"
