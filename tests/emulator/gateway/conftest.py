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


EVENT = """
    import json

    def handler(event, context):
        return {"statusCode": 200, "body": json.dumps(event)}
"""


@pytest.fixture(scope="session")
def showing(gateway: Gateway) -> str:
    """Return the ARN of a function whose response is its event."""
    return str(gateway.functions.create("shows-events", EVENT)["FunctionArn"])
