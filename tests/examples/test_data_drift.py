"""The example of drift: nothing is found on the first day, and an alarm tells of the last."""

import re
from pathlib import Path

import pytest

from tests.examples.running import run_example

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_data_drift(tmp_path: Path) -> None:
    options = "--time-scale", "0.005"
    first, *_, last, alarm = run_example(
        tmp_path, "examples.data_drift", *options, arguments=("--days", "4")
    ).splitlines()
    assert re.fullmatch(r"day 1: \d+% recognized, Completed", first)
    assert re.fullmatch(r"day 4: \d+% recognized, CompletedWithViolations", last)
    assert alarm == "alarm on pixel_0_0: ALARM"
