"""Functions in the emulator that all tests share."""

import uuid

import pytest

from tests.emulator.conftest import Local
from tests.emulator.functions.harness import Lambda

pytest.importorskip("awslambdaric")


# Runs the statements of its event, and returns what these call `result`.
RUNNER = """
    def handler(event, context):
        names = {"context": context}
        exec(event["run"], names)
        return names.get("result")
"""


@pytest.fixture(scope="session")
def functions(local: Local) -> Lambda:
    return Lambda(local.emulator)


@pytest.fixture(scope="session")
def runner(functions: Lambda) -> str:
    """Return the name of a function that runs the statements `run` of its event: not each test needs its own."""
    functions.create("runner", RUNNER, MemorySize=256)
    return "runner"


@pytest.fixture
def name() -> str:
    return f"f-{uuid.uuid4().hex[:8]}"
