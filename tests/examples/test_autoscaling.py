"""The example of scaling, in which instances come and go and no call is lost."""

import re
from itertools import groupby
from pathlib import Path

import pytest

from tests.examples.running import run_example

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]


def test_autoscaling(tmp_path: Path) -> None:
    lines = run_example(tmp_path, "examples.autoscaling", "--time-scale", "0.01").splitlines()
    counts = [line for line in lines if line.startswith("instances: ") and line != "instances: 2"]
    assert [count for count, _ in groupby(counts)] == ["instances: 1", "instances: 3", "instances: 1"]
    high, low = (
        rf"Successful: Setting desired instance count to {count}\. monitor alarm TargetTracking-endpoint/prices-scaled/"
        rf"variant/AllTraffic-Alarm{kind}-\S+ in state ALARM triggered policy calls"
        for kind, count in (("High", "[23]"), ("Low", "1"))
    )
    assert any(re.fullmatch(high, line) for line in lines)
    assert any(re.fullmatch(low, line) for line in lines)
    assert re.fullmatch(r"calls meanwhile: \d+ by version 1, no errors", lines[-1])
