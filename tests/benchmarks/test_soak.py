from benchmarks.soak import soak


def test_nothing_is_lost_and_nothing_grows() -> None:
    """The ten minutes of scripts/soak in half a one; its first seconds are no steady state, so it may grow by more."""
    found = soak("native", seconds=30, models=50, seed=0, most_growth=0.2)
    assert not found.tally.failures
    counts = found.tally.counts
    assert counts["answered right"] > 1000
    assert min(counts["unloads"], counts["workers killed"]) > 10
    assert any(what.startswith("requests told why not") for what in counts), "no unload and no kill met a request"
