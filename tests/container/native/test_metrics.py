from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as some
from prometheus_client.parser import text_string_to_metric_families

from polyhost.container.native.metrics import render
from polyhost.container.native.stats import SECONDS_BOUNDS, ModelStats, Sample

LABELS = ("model", "status", "kind", "phase", "le")

numbers = some.integers(0, 1000)
names = some.text(some.characters(codec="utf-8"), max_size=20)


@some.composite
def samples(draw: some.DrawFn) -> list[Sample]:
    found = []
    for name in draw(some.lists(names, max_size=3, unique=True)):
        stats = ModelStats()
        stats.responses.update(draw(some.dictionaries(some.integers(200, 599), numbers, max_size=3)))
        stats.errors.update(draw(some.dictionaries(names, numbers, max_size=2)))
        stats.loads = draw(numbers)
        for seconds in draw(some.lists(some.floats(0, 200) | some.sampled_from(SECONDS_BOUNDS), max_size=20)):
            stats.queue_seconds.add(seconds)
        stats.add_load_seconds("fork", draw(some.floats(0, 10)))
        found.append(Sample(name, stats, draw(some.booleans()), draw(numbers), draw(numbers)))
    return found


@given(samples())
def test_prometheus_reads_the_counters_of_any_model_name(samples: list[Sample]) -> None:
    content_type, text = render(samples)
    read = values(text.decode())

    assert content_type.startswith(b"text/plain")
    for sample in samples:
        stats = sample.stats
        for status, count in stats.responses.items():
            assert read["polyhost_invocations_total", sample.name, str(status)] == count
        for kind, count in stats.errors.items():
            assert read["polyhost_errors_total", sample.name, kind] == count
        assert read["polyhost_loads_total", sample.name] == stats.loads
        assert read["polyhost_load_seconds_total", sample.name, "fork"] == stats.load_seconds["fork"]
        assert read["polyhost_loaded", sample.name] == sample.loaded
        assert read["polyhost_waiting", sample.name] == sample.waiting
        assert read["polyhost_queue_seconds_count", sample.name] == sum(stats.queue_seconds.counts)


def values(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(sample.labels[label] for label in LABELS if label in sample.labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_memory_is_what_admission_goes_by() -> None:
    read = values(render([])[1].decode())
    assert 0 < read["polyhost_memory_available_bytes",] < read["polyhost_memory_limit_bytes",]


@given(some.lists(some.floats(0, 200) | some.sampled_from(SECONDS_BOUNDS), max_size=50))
def test_bucket_counts_values_up_to_its_bound(seconds: list[float]) -> None:
    stats = ModelStats()
    for value in seconds:
        stats.queue_seconds.add(value)

    buckets: dict[str, Any] = dict(stats.queue_seconds.buckets())
    assert buckets["+Inf"] == len(seconds)
    assert all(buckets[str(bound)] == sum(value <= bound for value in seconds) for bound in SECONDS_BOUNDS)
    assert all(before <= after for before, after in pairwise(buckets.values()))
