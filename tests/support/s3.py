"""An S3 of moto's, for code that the container fetches."""

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from polyhost.processes import free_port


@contextmanager
def s3_server() -> Iterator[tuple[Any, dict[str, str]]]:
    """Run an S3; return a client, and the variables by which another process finds it."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", free_port(), verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url, secret = f"http://{host}:{port}", "test"
    variables = {
        "AWS_ACCESS_KEY_ID": secret,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_ENDPOINT_URL_S3": url,
        "AWS_REGION": "us-east-1",
    }
    try:
        yield (
            boto3.client(
                "s3",
                endpoint_url=url,
                region_name="us-east-1",
                aws_access_key_id=secret,
                aws_secret_access_key=secret,
            ),
            variables,
        )
    finally:
        server.stop()


def packed(**files: str) -> bytes:
    """Return a .tar.gz with these files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content.encode()))
    return stream.getvalue()
