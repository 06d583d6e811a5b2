"""A registry as ECR is one: TLS, and only the user AWS with ECR's password gets in."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# bcrypt of "123456789012-auth-token", the password that the local AWS gives to its account.
HTPASSWD = "AWS:$2b$04$NYvB4Fx2i90KZAzEihCvGOLdSHN5whn5cAxxA57o4I0ZONHDRl7zC\n"
TRUSTED = Path("/etc/docker/certs.d")
START_SECONDS = 20


def missing_for_registry() -> str | None:
    for command in ("docker-registry", "openssl"):
        if not shutil.which(command):
            return f"the command '{command}' is not on PATH"
    return None


@contextmanager
def private_registry(folder: Path) -> Iterator[str]:
    """Its host and port. The engine trusts its certificate as long as it runs."""
    host = f"127.0.0.1:{free_port()}"
    command = ["docker-registry", "serve", str(configure(folder, host))]
    with (folder / "registry.log").open("w") as log, subprocess.Popen(command, stderr=log, stdout=log) as process:
        try:
            with trusted(host, folder / "registry.crt"):
                wait_until_listening(host, process)
                yield host
        finally:
            process.terminate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def configure(folder: Path, host: str) -> Path:
    make_certificate(folder)
    (folder / "htpasswd").write_text(HTPASSWD)
    tls = {"certificate": str(folder / "registry.crt"), "key": str(folder / "registry.key")}
    settings = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder / "images")}},
        "auth": {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}},
        "http": {"addr": host, "tls": tls},
    }
    file = folder / "registry.yml"
    file.write_text(json.dumps(settings))
    return file


def make_certificate(folder: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(folder / "registry.key"), "-out", str(folder / "registry.crt")]
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def trusted(host: str, certificate: Path) -> Iterator[None]:
    folder = TRUSTED / host
    folder.mkdir(parents=True)
    shutil.copy(certificate, folder / "ca.crt")
    try:
        yield
    finally:
        shutil.rmtree(folder)


def wait_until_listening(host: str, process: subprocess.Popen[bytes]) -> None:
    address, port = host.split(":")
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection((address, int(port)), timeout=1).close()
        except ConnectionRefusedError:
            assert process.poll() is None, "docker-registry ended at once"
            assert time.monotonic() < deadline, f"docker-registry does not listen on {host}"
            time.sleep(0.05)
        else:
            return
