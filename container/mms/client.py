"""Requests of the fork server's own to MMS, on loopback, without waiting for the answer."""

import json
import re
import socket
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import quote

from polyhost.container.system.event_loop import Loop

_CONNECT_S = 1.0
_ALL = 100_000  # models a page


class MmsClient:
    """MMS's management calls, by the model's name. `answered` gets the HTTP status, or None where none came."""

    def __init__(self, loop: Loop, port: int) -> None:
        self._loop = loop
        self._port = port

    def is_up(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), timeout=_CONNECT_S).close()
        except OSError:
            return False
        return True

    def resize(self, name: str, workers: int) -> None:
        """MMS answers 202 at once and adds or ends workers in the background."""
        self._request("PUT", f"{_path(name)}?min_worker={workers}&max_worker={workers}", lambda status: None)

    def describe(self, name: str, answered: Callable[[int | None], None]) -> None:
        self._request("GET", _path(name), answered)

    def unload(self, name: str) -> None:
        self._request("DELETE", _path(name), lambda status: None)

    def names(self, answered: Callable[[set[str]], None]) -> None:
        """Of the models that are registered; not called where MMS does not say."""

        def read(status: int | None, body: bytes) -> None:
            if status == HTTPStatus.OK:
                answered({model["modelName"] for model in json.loads(body)["models"]})

        self._exchange("GET", f"/models?limit={_ALL}", read)

    def _request(self, method: str, path: str, answered: Callable[[int | None], None]) -> None:
        self._exchange(method, path, lambda status, body: answered(status))

    def _exchange(self, method: str, path: str, answered: Callable[[int | None, bytes], None]) -> None:
        """Raises OSError where MMS takes no connection."""
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=_CONNECT_S)
        connection.sendall(_head(method, path))
        answer = bytearray()

        def read() -> None:
            try:
                data = connection.recv(1 << 16)
            except OSError:
                data = b""
            answer.extend(data)
            if not data or _is_whole(answer):  # MMS keeps the connection open, whatever it is asked
                self._loop.unwatch(connection)
                connection.close()
                answered(_status(bytes(answer[:64])), bytes(answer).partition(b"\r\n\r\n")[2])

        self._loop.watch(connection, read)


def _head(method: str, path: str) -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: mms\r\nConnection: close\r\n\r\n".encode()


def _path(name: str) -> str:
    return f"/models/{quote(name, safe='')}"


def _is_whole(answer: bytearray) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"^content-length: *(\d+)", head, re.IGNORECASE | re.MULTILINE)
    return bool(end and length) and len(body) >= int(length[1] if length else 0)


def _status(head: bytes) -> int | None:
    """Of "HTTP/1.1 200 OK"."""
    words = head.split(None, 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else None
