"""A small HTTP server with responses of the test's choice, for what a real container rarely sends."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple


class StubRequest(NamedTuple):
    """A request that the server received, with lower-case header names."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class StubResponse(NamedTuple):
    """A response to send; a body that is not bytes is sent as JSON."""

    status: int
    body: Any = b""


Respond = Callable[[StubRequest], StubResponse]


@contextmanager
def stub_server(respond: Respond) -> Iterator[str]:
    """Serve while the block runs, and yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            response = respond(StubRequest(self.command, self.path, headers, body))
            content = response.body if isinstance(response.body, bytes) else json.dumps(response.body).encode()
            self.send_response(response.status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_DELETE = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
