"""A load generator for machines without wrk: `python -m benchmarks.generator PORT PATH CLIENTS SECONDS`.

It works as wrk with wrk.lua does: the body comes from BODY_FILE, its type from CONTENT_TYPE, and the figures are
printed as a line of JSON. It takes about five times the CPU time of wrk.
"""

import json
import os
import re
import selectors
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_FIRST_RESPONSE_S = 30.0  # beyond the length of the run
_CHUNK = 1 << 16


class GeneratorClient:
    """One connection, which repeats its request as soon as the last response is complete."""

    def __init__(self, port: int, request: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.seconds: list[float] = []
        self.errors = 0
        self._request = request
        self._response = b""
        self._sent = 0.0

    def send(self) -> None:
        self._sent = time.perf_counter()
        self.socket.sendall(self._request)

    def on_readable(self) -> None:
        chunk = self.socket.recv(_CHUNK)
        if not chunk:
            raise ConnectionResetError("the server closed the connection")
        self._response += chunk
        if is_complete(self._response):
            self.seconds.append(time.perf_counter() - self._sent)
            self.errors += not self._response.startswith(b"HTTP/1.1 200 ")
            self._response = b""
            self.send()


def is_complete(response: bytes) -> bool:
    head, end, body = response.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


def percentile(values: Sequence[float], share: float) -> float:
    """Return a percentile by the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def run(port: int, request: bytes, clients: int, seconds: float) -> dict[str, float]:
    started = time.perf_counter()
    group = [GeneratorClient(port, request) for _ in range(clients)]
    with selectors.DefaultSelector() as selector:
        for client in group:
            selector.register(client.socket, selectors.EVENT_READ, client.on_readable)
            client.send()
        while (elapsed := time.perf_counter() - started) < seconds or not any(client.seconds for client in group):
            if elapsed > seconds + _FIRST_RESPONSE_S:
                raise TimeoutError(f"no response within {elapsed:.0f} s")
            for key, _ in selector.select(1.0):
                key.data()
    return _figures(group, time.perf_counter() - started)


def _figures(group: Sequence[GeneratorClient], seconds: float) -> dict[str, float]:
    for client in group:
        client.socket.close()
    latencies = [latency for client in group for latency in client.seconds]
    return {
        "requests": len(latencies),
        "seconds": seconds,
        "errors": sum(client.errors for client in group),
        "p50_ms": percentile(latencies, 0.5) * 1000,
        "p99_ms": percentile(latencies, 0.99) * 1000,
    }


def main(port: str, path: str, clients: str, seconds: str) -> None:
    body = Path(os.environ["BODY_FILE"]).read_bytes()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {os.environ['CONTENT_TYPE']}\r\n"
    if target := os.environ.get("TARGET_MODEL"):  # for the emulator
        head += f"X-Amzn-SageMaker-Target-Model: {target}\r\n"
    if extra := os.environ.get("EXTRA_HEADER"):  # for a peer
        head += f"{extra}\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    print(json.dumps(run(int(port), request, int(clients), float(seconds))))


if __name__ == "__main__":
    main(*sys.argv[1:])
