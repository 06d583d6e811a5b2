"""Credentials of a role, as pods get them: by a web identity's token (IRSA), and from an agent (EKS Pod Identity)."""

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from polyhost.container.config import store_secrets
from polyhost.container.model_store.source.objects import ObjstoreBucket
from polyhost.model_cache.model_url import ModelData

ROLE = "arn:aws:iam::111122223333:role/models"
TOKEN = "a.web.identity"
ASSUMED = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials>
<AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>of-the-role</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration>
</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""
FROM_AGENT = (
    '{"AccessKeyId": "ASIA", "SecretAccessKey": "s", "Token": "of-the-pod", "Expiration": "2099-01-01T00:00:00Z"}'
)


class Services(BaseHTTPRequestHandler):
    """AWS's token service, the agent on a node, and an S3 that has one object, as far as they are asked here."""

    asked: list[tuple[str, str]]  # what was asked for, and with which token

    def do_POST(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        self.asked.append((query["RoleArn"][0], query["WebIdentityToken"][0]))
        self._respond(ASSUMED)

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Authorization"]))
        self._respond(FROM_AGENT)

    def do_HEAD(self) -> None:
        self.asked.append((self.path, self.headers["x-amz-security-token"]))
        self._respond("")

    def _respond(self, body: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"one"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing."""


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    return file


@contextmanager
def serving(folder: Path | None = None) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """Serve; over TLS with the certificate in the folder. Yield the port, and what was asked."""
    asked: list[tuple[str, str]] = []
    handler = type("Handler", (Services,), {"asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if folder is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def make_certificate(folder: Path) -> Path:
    """Make a certificate for localhost, and return that of its authority."""
    if shutil.which("openssl") is None:
        pytest.skip("the command 'openssl' is not on PATH")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=120)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout")
    openssl("req", "-x509", *new_key, "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=authority")
    openssl("req", *new_key, "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    (folder / "names").write_text("subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
    by_authority = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
    openssl("x509", "-req", "-in", "server.csr", "-out", "server.pem", *by_authority)
    return folder / "ca.pem"


def head(variables: dict[str, str]) -> None:
    """Look for the object with the variables that the front end gets, which are in no environment."""
    pytest.importorskip("obstore")
    bucket = ObjstoreBucket(ModelData("models", "p/"), store_secrets(variables).variables)
    assert bucket.etag("models", "p/a.tar.gz") == '"one"'


def test_a_web_identity(tmp_path: Path, token_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(make_certificate(tmp_path)))
    with serving() as (s3_port, s3_asked), serving(tmp_path) as (sts_port, sts_asked):
        head(
            {
                "AWS_ROLE_ARN": ROLE,
                "AWS_WEB_IDENTITY_TOKEN_FILE": str(token_file),
                "AWS_ENDPOINT_URL_STS": f"https://localhost:{sts_port}",
                "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{s3_port}",
                "AWS_REGION": "us-east-1",
                "HOME": str(tmp_path),
            }
        )
        assert sts_asked == [(ROLE, TOKEN)]
        assert s3_asked == [("/models/p/a.tar.gz", "of-the-role")]


def test_an_agent_on_the_node(tmp_path: Path, token_file: Path) -> None:
    with serving() as (port, asked):
        url = f"http://127.0.0.1:{port}"
        head(
            {
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/v1/credentials",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token_file),
                "AWS_ENDPOINT_URL_S3": url,
                "AWS_REGION": "us-east-1",
                "HOME": str(tmp_path),
            }
        )
        assert asked == [("/v1/credentials", TOKEN), ("/models/p/a.tar.gz", "of-the-pod")]
