"""APIs in the emulator that all tests share."""

import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.emulator.conftest import Local
from tests.emulator.functions.harness import Lambda
from tests.emulator.gateway.harness import Gateway

pytest.importorskip("awslambdaric")


@pytest.fixture(scope="session")
def gateway(local: Local) -> Iterator[Gateway]:
    with httpx.Client(timeout=120.0, trust_env=False) as http:
        yield Gateway(Lambda(local.emulator), http)


@pytest.fixture
def name() -> str:
    return f"g-{uuid.uuid4().hex[:8]}"
