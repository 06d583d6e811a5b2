"""CloudWatch's statistics over values and statistic sets."""

import random

import pytest

from polyhost.emulator.alarms.samples import MetricSample
from polyhost.emulator.alarms.statistics import statistic
from polyhost.emulator.telemetry.distribution import Distribution


def values(*given: float) -> list[MetricSample]:
    return [MetricSample(0.0, 1, value, value, value, None, ((value, 1.0),)) for value in given]


HUNDRED = values(*map(float, range(1, 101)))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SampleCount", 100),
        ("Sum", 5050),
        ("Average", 50.5),
        ("Minimum", 1),
        ("Maximum", 100),
        ("p0", 1),
        ("p50", 50),
        ("p99.9", 100),
        ("p100", 100),
        ("tm90", 45.5),
        ("TM(10%:90%)", 50.5),
        ("TM(%:90%)", 45.5),
        ("IQM", 50.5),
        ("tc90", 90),
        ("ts90", 4095),
        ("TC(25%:75%)", 50),
        ("wm80", (sum(range(1, 81)) + 20 * 80) / 100),
        ("PR(10:20)", 10),
        ("PR(:20)", 20),
    ],
)
def test_statistics(name: str, expected: float) -> None:
    assert statistic(name)(HUNDRED) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["", "average", "p101", "p", "PR(:)", "TM(%:%)", "median"])
def test_unknown_statistics_are_named(name: str) -> None:
    with pytest.raises(ValueError, match="is no statistic; valid are Average"):
        statistic(name)


def test_sets_without_values_have_no_percentiles() -> None:
    unknown = MetricSample(0.0, 10, 50.0, 1.0, 9.0)
    assert statistic("p90")([unknown]) is None
    assert statistic("Average")([unknown, *values(5.0)]) == 5.0


def test_a_distribution_keeps_few_values_exactly_and_many_within_two_percent() -> None:
    few, many = Distribution(), Distribution()
    for value in (0.0, 1.5, 1.5, -3.0):
        few.add(value)
    assert sorted(few.packed().items()) == [(-3.0, 1), (0.0, 1), (1.5, 2)]
    generator = random.Random(1)
    drawn = sorted(generator.lognormvariate(8, 1) for _ in range(5000))
    for value in drawn:
        many.add(value)
    packed = sorted(many.packed().items())
    assert sum(count for _, count in packed) == 5000
    assert len(packed) < 600
    sample = MetricSample(0.0, 5000, sum(drawn), drawn[0], drawn[-1], None, tuple((v, float(c)) for v, c in packed))
    for name, place in (("p50", 2499), ("p90", 4499), ("p99", 4949)):
        assert statistic(name)([sample]) == pytest.approx(drawn[place], rel=0.02)
