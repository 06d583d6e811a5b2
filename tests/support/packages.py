"""Tiny wheels, and a package index for them: a real one in small, served over loopback (PEP 503)."""

import base64
import hashlib
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    requires: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
) -> Path:
    """Write a wheel; by default it has the one module of its name, whose VERSION is the version."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    members = {
        **({f"{module}.py": f"VERSION = {version!r}\n"} if files is None else files),
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{path},sha256={_digest(text)},{len(text.encode())}" for path, text in members.items()]
    members[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in members.items():
            archive.writestr(path, text)
    return wheel


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


class Index:
    """A package index: `folder` holds the files that it offers, `requests` what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[str] = []
        self.hold = threading.Event()  # while it is not set, the index accepts connections and does not answer
        self.hold.set()
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer(with_body=False)

            def do_GET(self) -> None:
                self._answer(with_body=True)

            def _answer(self, with_body: bool) -> None:
                index.requests.append(self.path)
                index.hold.wait()
                body, kind = index.page(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                if with_body:
                    self.wfile.write(body or b"")

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/simple"

    def page(self, path: str) -> tuple[bytes | None, str]:
        """Return a page of the index or a file, None for an unknown path."""
        _, kind, name, *_ = [*path.split("/"), ""]
        if kind == "files":
            file = self.folder / name
            return (file.read_bytes() if file.is_file() else None), "application/octet-stream"
        found = [file for file in self.folder.iterdir() if _project(file.name) == name]
        links = "".join(f'<a href="/files/{file.name}">{file.name}</a>' for file in found)
        return (f"<html><body>{links}</body></html>".encode() if found else None), "text/html"

    def close(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _project(file: str) -> str:
    return file.partition("-")[0].lower().replace("_", "-")


@contextmanager
def serving(folder: Path) -> Iterator[Index]:
    """Serve the files of a folder as a package index while the block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    index = Index(folder)
    try:
        yield index
    finally:
        index.close()
