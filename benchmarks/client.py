"""A client of the container's API for measurements.

It keeps one connection of http.client. A request through polyhost.client (httpx) costs the client three times the CPU
time, up to 1 ms more, which would count as part of every figure.
"""

import http.client
import json
from types import TracebackType
from typing import Self

from benchmarks.models import Copy

TIMEOUT_S = 120


class ResponseError(Exception):
    """A response that is not 200: measuring errors would be pointless."""


class MeasuringClient:
    """Requests about copies of models, on one kept connection to 127.0.0.1."""

    def __init__(self, port: int, timeout_s: float = TIMEOUT_S) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def reconnect(self) -> None:
        """Close the connection, on which a response may still come; the next request opens another."""
        self._connection.close()

    def ping(self) -> None:
        self._request("GET", "/ping")

    def load(self, copy: Copy) -> None:
        body = json.dumps({"model_name": copy.name, "url": str(copy.folder)}).encode()
        self._request("POST", "/models", body, "application/json")

    def invoke(self, copy: Copy, body: bytes) -> bytes:
        return self._request("POST", invocations_path(copy), body, copy.kind.content_type)

    def unload(self, copy: Copy) -> None:
        self._request("DELETE", f"/models/{copy.name}")

    def exchange(self, method: str, path: str, body: bytes = b"", content_type: str = "") -> tuple[int, bytes]:
        """Return status and body of the response, whatever the status is."""
        headers = {"Content-Type": content_type} if content_type else {}
        self._connection.request(method, path, body or None, headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def _request(self, method: str, path: str, body: bytes = b"", content_type: str = "") -> bytes:
        status, response = self.exchange(method, path, body, content_type)
        if status != http.client.OK:
            raise ResponseError(f"{status} from {method} {path}: {response[:500].decode(errors='replace')}")
        return response


def invocations_path(copy: Copy) -> str:
    return f"/models/{copy.name}/invoke"
