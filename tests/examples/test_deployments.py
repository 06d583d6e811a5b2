"""The examples of deployments, in which a canary ends well, one is rolled back, and a linear shift loses no call."""

import re
from pathlib import Path

import pytest

from tests.examples.running import run_example

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]
OPTIONS = ("--time-scale", "0.01")


def test_canary_deployment(tmp_path: Path) -> None:
    *stages, calls, end = run_example(tmp_path, "examples.canary_deployment", *OPTIONS).splitlines()
    assert "Updating: Baking, 20% of the traffic" in stages
    assert "Updating: Baking, 100% of the traffic" in stages
    assert re.fullmatch(r"calls meanwhile: \d+ by version 1, \d+ by version 2, no errors", calls)
    assert end == "InService with prices-canary-2, version 2 answers"


def test_canary_rollback(tmp_path: Path) -> None:
    *stages, calls, reason, end = run_example(tmp_path, "examples.canary_rollback", *OPTIONS).splitlines()
    assert "Updating: Baking, 50% of the traffic" in stages
    assert re.fullmatch(r"calls meanwhile: \d+ by version 1, \d+ ModelError", calls)
    assert reason == "The alarm(s) prices-rollback-broken-errors of AutoRollbackConfiguration tripped."
    assert end == "InService with prices-rollback-1, version 1 answers"


def test_linear_deployment(tmp_path: Path) -> None:
    *stages, calls, end = run_example(tmp_path, "examples.linear_deployment", *OPTIONS).splitlines()
    shares = [int(found[1]) for stage in stages if (found := re.search(r"(\d+)% of the traffic", stage))]
    assert shares == sorted(shares) and shares[-1] == 100
    assert re.fullmatch(r"calls meanwhile: \d+ by version 1, \d+ by version 2, no errors", calls)
    assert end == "InService with prices-linear-2, version 2 answers"
