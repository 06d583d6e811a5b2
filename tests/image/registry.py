"""A registry that behaves like ECR: TLS, and access only for the user AWS with ECR's password."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from polyhost.processes import ServerProcess, free_port

# bcrypt of "123456789012-auth-token", the password that the local AWS gives to its account.
HTPASSWD = "AWS:$2b$04$NYvB4Fx2i90KZAzEihCvGOLdSHN5whn5cAxxA57o4I0ZONHDRl7zC\n"
TRUSTED = Path("/etc/docker/certs.d")
START_SECONDS = 20


def missing_for_registry() -> str | None:
    """Return which command is missing, or None."""
    for command in ("docker-registry", "openssl"):
        if not shutil.which(command):
            return f"the command '{command}' is not on PATH"
    return None


@contextmanager
def private_registry(folder: Path) -> Iterator[str]:
    """Run a registry whose certificate the engine trusts, while the block runs; yield its host and port."""
    host = f"127.0.0.1:{free_port()}"
    command = ["docker-registry", "serve", str(configure(folder, host))]
    process = ServerProcess(command, folder / "registry.log")
    try:
        with trusted(host, folder / "registry.crt"):
            process.wait_until(partial(is_listening, host), timeout_s=START_SECONDS)
            yield host
    finally:
        process.stop()


def configure(folder: Path, host: str) -> Path:
    """Write the registry's configuration, and return its path."""
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


def is_listening(host: str) -> bool:
    """Return whether connections to this host and port are accepted."""
    address, port = host.split(":")
    try:
        socket.create_connection((address, int(port)), timeout=1).close()
    except ConnectionRefusedError:
        return False
    return True
