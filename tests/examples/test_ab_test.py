"""The example of an A/B test, whose better version gets all calls."""

import re
from pathlib import Path

import pytest

from tests.examples.running import run_example

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]


def test_ab_test(tmp_path: Path) -> None:
    first, second, verdict, end = run_example(tmp_path, "examples.ab_test").splitlines()
    assert re.fullmatch(r"A: \d+ calls, 0 errors", first)
    assert re.fullmatch(r"B: \d+ calls, [1-9]\d* errors", second)
    assert verdict.startswith("A is better: fewer errors")
    assert end == "answered by: A"
