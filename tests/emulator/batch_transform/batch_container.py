"""A container for batch transform, which a job's Environment tells what to do.

It responds to text/csv with the sum of each row, to application/jsonlines and application/json with {"seen": ...} and
to anything else in capitals.

BATCH_PARAMETERS is the answer to /execution-parameters. BATCH_FAIL, as STATUS:TEXT, fails requests with this text in
them, BATCH_FAIL_TIMES times at most. BATCH_EXIT is a text that ends the container, BATCH_START_EXIT a status with
which it ends at its start. BATCH_WAIT is a file without which requests with the text BATCH_WAITS get no response.
BATCH_LOG is a file for a line of JSON about the start and each request, BATCH_TYPE the responses' content type.
"""

import fcntl
import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

WAIT_S = 120.0
failures = 0
running = 0
lock = Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        parameters = os.environ.get("BATCH_PARAMETERS")
        if self.path == "/execution-parameters":
            self._respond(200 if parameters else 404, (parameters or "").encode(), "application/json")
        else:
            self._respond(200, b"")

    def do_POST(self) -> None:
        global running
        body = self._body()
        with lock:
            running += 1
        log(
            {
                "path": self.path,
                "type": self.headers.get("Content-Type"),
                "accept": self.headers.get("Accept"),
                "chunked": "Transfer-Encoding" in self.headers,
                "length": len(body),
                "body": body[:200].decode("latin-1"),
                "running": running,
            }
        )
        try:
            self._invoke(body)
        finally:
            with lock:
                running -= 1

    def _invoke(self, body: bytes) -> None:
        text = body.decode("latin-1")
        if (ends := os.environ.get("BATCH_EXIT")) and ends in text:
            os._exit(9)
        if (mark := os.environ.get("BATCH_WAIT")) and os.environ.get("BATCH_WAITS", "") in text:
            wait_for_file(Path(mark))
        if fails(text):
            self._respond(int(os.environ["BATCH_FAIL"].partition(":")[0]), b"a bad record\nof many", "text/plain")
            return
        media_type = self.headers.get("Content-Type", "")
        self._respond(
            200, respond(body, media_type), os.environ.get("BATCH_TYPE") or self.headers.get("Accept") or "x/y"
        )

    def _body(self) -> bytes:
        if "Transfer-Encoding" not in self.headers:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _respond(self, status: int, body: bytes, content_type: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def respond(body: bytes, media_type: str) -> bytes:
    if media_type == "text/csv":
        rows = [line.split(",") for line in body.decode().splitlines()]
        return "\n".join(str(sum(float(cell) for cell in row if cell)) for row in rows).encode()
    if media_type == "application/jsonlines":
        return "\n".join(json.dumps({"seen": json.loads(line)}) for line in body.splitlines()).encode()
    if media_type == "application/json":
        return json.dumps({"seen": json.loads(body)}).encode()
    return body.upper()


def fails(text: str) -> bool:
    global failures
    _, _, wanted = os.environ.get("BATCH_FAIL", "").partition(":")
    with lock:
        if not wanted or wanted not in text or failures >= int(os.environ.get("BATCH_FAIL_TIMES", "1000")):
            return False
        failures += 1
        return True


def wait_for_file(path: Path) -> None:
    deadline = time.monotonic() + WAIT_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody has made {path}")
        time.sleep(0.01)


def log(content: dict[str, Any]) -> None:
    if path := os.environ.get("BATCH_LOG"):
        with Path(path).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps({"pid": os.getpid()} | content) + "\n")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def main() -> None:
    assert sys.argv[1:] == ["serve"], sys.argv
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print("batch container started", flush=True)
    variables = {name: value for name, value in os.environ.items() if name.startswith(("SAGEMAKER_", "OWN_"))}
    log({"started": variables})
    if code := os.environ.get("BATCH_START_EXIT"):
        print("it cannot go on", flush=True)
        sys.exit(int(code))
    Server(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()


if __name__ == "__main__":
    main()
