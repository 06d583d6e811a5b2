"""The example of batch transform, run against the emulator as its docstring says."""

import re
from pathlib import Path

import pytest

from tests.examples.running import run_example

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def test_batch_transform(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    *outputs, table, first = run_example(tmp_path, "examples.batch_transform").splitlines()
    assert outputs == [f"{hour}.csv.out: 20 predictions" for hour in ("08", "12", "16")]
    found = re.fullmatch(r"in the table: 60 items, (\d+) right; of cultivar \{0: \d+, 1: \d+, 2: \d+\}", table)
    assert found is not None and int(found[1]) >= 55
    assert re.fullmatch(r"wine-0 at 2026-11-25T08:00Z: cultivar [012]", first)
