import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.generator import is_complete, percentile, run

REQUEST = b"POST /models/m/invoke HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{}"


class RespondingHandler(BaseHTTPRequestHandler):
    """Responds with the status in the body, else with 200."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(int(body) if body.isdigit() else 200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"true")

    def log_message(self, *arguments: object) -> None:
        pass


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, *arguments: object) -> None:
        """Ignore that the clients disconnect in the middle of a response."""


@pytest.fixture
def port() -> Iterator[int]:
    server = QuietServer(("127.0.0.1", 0), RespondingHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def run_until(requests: int, port: int, request: bytes, clients: int) -> dict[str, float]:
    """Return the figures of a run with this many requests: on a busy machine a short one may have none."""
    runs = (run(port, request, clients, seconds) for seconds in (0.2, 2.0, 20.0, 60.0))
    return next(figures for figures in runs if figures["requests"] >= requests)


def test_counts_and_times_responses(port: int) -> None:
    figures = run_until(4, port, REQUEST, clients=3)
    assert figures["errors"] == 0
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]


def test_counts_error_responses(port: int) -> None:
    figures = run_until(1, port, REQUEST.replace(b"2\r\n\r\n{}", b"3\r\n\r\n507"), clients=1)
    assert figures["errors"] == figures["requests"] > 0


@pytest.mark.parametrize(
    ("response", "complete"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ntru", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    ],
)
def test_knows_when_an_answer_is_complete(response: bytes, complete: bool) -> None:
    assert is_complete(response) is complete


def test_percentile_is_the_nearest_rank() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([7.0], 0.99)) == (51.0, 100.0, 7.0)
