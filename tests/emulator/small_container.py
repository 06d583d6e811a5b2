"""A small container that is not polyhost: it has the HTTP API that SageMaker needs, and starts at once.

A model is a folder with `model.json`; `archives.py` lists its settings. Environment: SMALL_CAPACITY is how many models
fit, SMALL_MARK a word for responses that quote, SMALL_MEGABYTES memory to hold, SMALL_PING the status of /ping,
SMALL_STATUS that of responses whose model sets none,
SMALL_EXIT the status with which the container exits at its start, SMALL_HOLD a file with which /ping gets 503.
"""

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

CAPACITY = int(os.environ.get("SMALL_CAPACITY", "1000"))
MULTI_MODEL = "SAGEMAKER_MULTI_MODEL" in os.environ
MARK_S = 120.0
loaded: dict[str, dict[str, Any]] = {}
lock = Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are written separately

    def do_GET(self) -> None:
        if self.path == "/ping":
            held = Path(os.environ.get("SMALL_HOLD", "/none")).exists()
            self._respond(503 if held else int(os.environ.get("SMALL_PING", "200")))
        elif self.path == "/models":
            self._respond(200, {"models": [{"modelName": key, "modelUrl": "?"} for key in loaded]})
        else:
            self._respond(200 if self.path.removeprefix("/models/") in loaded else 404)

    def do_DELETE(self) -> None:
        key = self.path.removeprefix("/models/")
        with lock:
            if (status := loaded.get(key, {}).get("unload_status", 200)) != 200:
                self._respond(status, {"message": "it stays loaded"})
            else:
                self._respond(200 if loaded.pop(key, None) else 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/models":
            self._load(json.loads(body))
        elif self.path == "/invocations":
            self._invoke(read(Path(os.environ["SAGEMAKER_BASE_DIR"], "model")), body)
        elif (model := loaded.get(self.path.split("/")[2])) is not None:
            self._invoke(model, body)
        else:
            self._respond(404)

    def _load(self, wanted: dict[str, str]) -> None:
        model = read(Path(wanted["url"]))
        time.sleep(model.get("load_seconds", 0))
        if "load_mark" in model:
            wait_for_file(Path(model["load_mark"]))
        with lock:
            if wanted["model_name"] in loaded:
                self._respond(409)
            elif model.get("load_status", 200) != 200:
                self._respond(model["load_status"], {"message": "as model.json says"})
            elif len(loaded) >= CAPACITY:
                self._respond(507, {"message": "full"})
            else:
                model["held"] = b"x" * (model.get("megabytes", 0) << 20)
                loaded[wanted["model_name"]] = model
                self._respond(200)

    def _invoke(self, model: dict[str, Any], body: bytes) -> None:
        time.sleep(model.get("invoke_seconds", 0))
        if "invoke_mark" in model:
            wait_for_file(Path(model["invoke_mark"]))
        if model.get("exit"):
            os._exit(model["exit"])
        if "journal" in model:
            with Path(model["journal"]).open("a") as journal:
                journal.write(f"{self.headers.get('X-Amzn-SageMaker-Inference-Id')}\n")
        attributes = self.headers.get("X-Amzn-SageMaker-Custom-Attributes", "")
        seen = {name.lower(): value for name, value in self.headers.items()}
        content = {"name": model["name"], "pid": os.getpid(), "headers": seen, "length": len(body)}
        if model.get("quotes"):
            content |= {"body": body.decode(), "padding": "x" * model.get("padding", 0)}
            content |= {"mark": os.environ.get("SMALL_MARK"), "ports": os.environ.get("SAGEMAKER_SAFE_PORT_RANGE")}
        print(f"invoked {model['name']}", *([json.dumps(content)] if model.get("prints") else []), flush=True)
        if "chunks" in model and model.get("status", 200) == 200:
            self._stream(model, attributes)
            return
        headers = {"X-Amzn-SageMaker-Custom-Attributes": attributes} | self._session()
        self._respond(model.get("status", int(os.environ.get("SMALL_STATUS", "200"))), content, headers)

    def _session(self) -> dict[str, str]:
        wanted = self.headers.get("X-Amzn-SageMaker-Session-Id")
        if wanted == "NEW_SESSION":
            return {"X-Amzn-SageMaker-New-Session-Id": f"s-{os.getpid()}; Expires=2030-01-01T00:00:00Z"}
        closing = wanted and self.headers.get("X-Amzn-SageMaker-Custom-Attributes") == "close"
        return {"X-Amzn-SageMaker-Closed-Session-Id": str(wanted)} if closing else {}

    def _stream(self, model: dict[str, Any], attributes: str) -> None:
        """Send the model's chunks by chunked coding; null breaks the connection."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("X-Amzn-SageMaker-Custom-Attributes", attributes)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, chunk in enumerate(model["chunks"]):
            if number and "chunk_marks" in model:
                wait_for_file(Path(model["chunk_marks"], str(number)))
            if chunk is None:
                self.wfile.flush()
                self.close_connection = True
                return
            try:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk.encode()))
                self.wfile.flush()
            except OSError:
                print("the client disconnected during the stream", flush=True)
                raise
            time.sleep(model.get("chunk_seconds", 0))
        self.wfile.write(b"0\r\n\r\n")

    def _respond(self, status: int, content: Any = None, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode() if content is not None else b""
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def read(folder: Path) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads((folder / "model.json").read_text())
    return settings


def wait_for_file(path: Path) -> None:
    deadline = time.monotonic() + MARK_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody has made {path}")
        time.sleep(0.01)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


def main() -> None:
    assert sys.argv[1:] == ["serve"], sys.argv
    held = b"x" * (int(os.environ.get("SMALL_MEGABYTES", "0")) << 20)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print("small container started", *([f"with {len(held)} bytes"] if held else []), flush=True)
    if code := os.environ.get("SMALL_EXIT"):
        print("it cannot go on", flush=True)
        sys.exit(int(code))
    Server(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()


if __name__ == "__main__":
    main()
