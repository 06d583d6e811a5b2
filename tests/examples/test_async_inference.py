"""The example of asynchronous inference, run against the emulator as its docstring says."""

import re
from pathlib import Path

import pytest

from tests.examples.running import run_example

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def test_async_inference(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    notified, *others = run_example(tmp_path, "examples.async_inference").splitlines()
    recognised = re.fullmatch(r"notified of 20 predictions: (\d+) of 100 digits are right", notified)
    assert recognised is not None and int(recognised[1]) >= 90
    assert others == [
        "spoilt: Failed, ClientError: Received client error (400) from model. See the SageMaker Endpoint logs in your"
        " account for more information.",
        "with no instances: no answer",
        "with an instance: 5 digits",
    ]
