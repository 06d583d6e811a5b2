from benchmarks.soak import soak


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
