"""Fixtures of emulators in processes of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulator.async_inference.machine import Machine
from tests.support.s3 import s3_server


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def machine_with_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    with s3_server() as (client, variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield Machine(tmp_path, client, variables["AWS_ENDPOINT_URL_S3"])
