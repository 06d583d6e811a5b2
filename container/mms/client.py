"""The fork server's requests to MMS's management API, sent on loopback without waiting for the responses."""

import json
import re
import socket
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import quote

from polyhost.container.system.event_loop import EventLoop

_CONNECT_S = 1.0
_LIMIT = 100_000  # models in the list: all of them


class MmsClient:
    """MMS's management API, by model name. `on_response` gets the HTTP status, or None if there was no response.

    All requests raise OSError if MMS accepts no connection.
    """

    def __init__(self, loop: EventLoop, port: int) -> None:
        self._loop = loop
        self._port = port

    def is_up(self) -> bool:
        """Return whether MMS accepts connections."""
        try:
            socket.create_connection(("127.0.0.1", self._port), timeout=_CONNECT_S).close()
        except OSError:
            return False
        return True

    def probe(self, on_response: Callable[[int | None], None]) -> None:
        """Ask for something that a server thread answers itself: for /ping MMS takes one more thread."""
        self._request("GET", "/models?limit=1", on_response)

    def resize(self, name: str, workers: int) -> None:
        """Set the number of workers. MMS responds with 202 at once and adds or stops workers in the background."""
        self._request("PUT", f"{_path(name)}?min_worker={workers}&max_worker={workers}", lambda status: None)

    def describe(self, name: str, on_response: Callable[[int | None], None]) -> None:
        """Ask whether the model is registered."""
        self._request("GET", _path(name), on_response)

    def unload(self, name: str) -> None:
        """Unregister the model."""
        self._request("DELETE", _path(name), lambda status: None)

    def models(self, on_models: Callable[[dict[str, str]], None]) -> None:
        """List the models that are registered, each with its `url`; `on_models` is not called if MMS does not say."""

        def read(status: int | None, body: bytes) -> None:
            if status == HTTPStatus.OK:
                on_models({model["modelName"]: model["modelUrl"] for model in json.loads(body)["models"]})

        self._exchange("GET", f"/models?limit={_LIMIT}", read)

    def _request(self, method: str, path: str, on_response: Callable[[int | None], None]) -> None:
        self._exchange(method, path, lambda status, body: on_response(status))

    def _exchange(self, method: str, path: str, on_response: Callable[[int | None, bytes], None]) -> None:
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=_CONNECT_S)
        connection.sendall(_head(method, path))
        response = bytearray()

        def read() -> None:
            try:
                data = connection.recv(1 << 16)
            except OSError:
                data = b""
            response.extend(data)
            if not data or _is_complete(response):  # MMS keeps the connection open, whatever the request says
                self._loop.unwatch(connection)
                connection.close()
                on_response(_status(bytes(response[:64])), bytes(response).partition(b"\r\n\r\n")[2])

        self._loop.watch(connection, read)


def _head(method: str, path: str) -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: mms\r\nConnection: close\r\n\r\n".encode()


def _path(name: str) -> str:
    return f"/models/{quote(name, safe='')}"


def _is_complete(response: bytearray) -> bool:
    head, end, body = response.partition(b"\r\n\r\n")
    length = re.search(rb"^content-length: *(\d+)", head, re.IGNORECASE | re.MULTILINE)
    return bool(end and length) and len(body) >= int(length[1] if length else 0)


def _status(head: bytes) -> int | None:
    """Return the status of a status line such as "HTTP/1.1 200 OK"."""
    words = head.split(None, 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else None
