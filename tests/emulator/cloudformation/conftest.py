"""Stacks of a test's own, deleted when it ends."""

import uuid
from collections.abc import Iterator

import pytest

from tests.emulator.cloudformation.harness import StackClient
from tests.emulator.conftest import Local


@pytest.fixture
def stacks(local: Local) -> Iterator[StackClient]:
    client = StackClient(local, f"s-{uuid.uuid4().hex[:10]}")
    yield client
    client.delete_all()
