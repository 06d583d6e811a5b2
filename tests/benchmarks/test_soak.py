from pathlib import Path

import pytest

from benchmarks.models import KINDS, Copy
from benchmarks.soak import UNANSWERED, SoakedModel, Tally, soak


def test_no_response_is_lost_and_memory_does_not_grow() -> None:
    """Run scripts/soak for half a minute; memory may grow by more, since the first seconds are not a steady state."""
    found = soak("native", seconds=30, models=50, seed=0, max_growth=0.2)
    assert not found.tally.failures
    counts = found.tally.counts
    assert counts["right responses"] > 1000
    assert min(counts["unloads"], counts["workers killed"]) > 10
    assert any(what.startswith("explained errors of requests") for what in counts), (
        "no unload and no kill met a request"
    )


@pytest.mark.parametrize(
    ("unloaded", "forgets", "counted"), [((15.0, 16.0), True, 1), ((15.0, 16.0), False, 0), ((5.0, 6.0), True, 0)]
)
def test_no_response_is_a_failure_unless_mms_has_unloaded_the_model(
    unloaded: tuple[float, float], forgets: bool, counted: int
) -> None:
    model = SoakedModel(Copy("m", KINDS["empty"], Path()), absent_since=None, absences=[unloaded])
    tally = Tally()
    tally.note_no_response(model, 10.0, 70.0, forgets)
    assert (tally.counts[UNANSWERED], len(tally.failures)) == (counted, 1 - counted)
