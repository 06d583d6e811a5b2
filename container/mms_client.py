"""Requests of the fork server's own to MMS, on loopback, without waiting for the answer."""

import socket
from collections.abc import Callable
from urllib.parse import quote

from container.loop import Loop

_CONNECT_S = 1.0


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

    def _request(self, method: str, path: str, answered: Callable[[int | None], None]) -> None:
        """Raises OSError where MMS takes no connection."""
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=_CONNECT_S)
        connection.sendall(_head(method, path))
        head = bytearray()

        def read() -> None:
            try:
                data = connection.recv(1 << 16)
            except OSError:
                data = b""
            head.extend(data[: 64 - len(head)])
            if not data:
                self._loop.unwatch(connection)
                connection.close()
                answered(_status(bytes(head)))

        self._loop.watch(connection, read)


def _head(method: str, path: str) -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: mms\r\nConnection: close\r\n\r\n".encode()


def _path(name: str) -> str:
    return f"/models/{quote(name, safe='')}"


def _status(head: bytes) -> int | None:
    """Of "HTTP/1.1 200 OK"."""
    words = head.split(None, 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else None
