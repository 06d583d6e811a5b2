"""When scheduled actions are due."""

from datetime import UTC, datetime

import pytest

from polyhost.emulator.autoscaling.schedules import schedule
from polyhost.emulator.time_scale import TimeScale


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


NOW = _seconds("2026-11-27T23:30:00")  # a Friday


@pytest.mark.parametrize(
    ("expression", "timezone", "expected"),
    [
        ("at(2027-01-01T00:00:00)", None, "2027-01-01T00:00:00"),
        ("at(2027-01-01T00:00:00)", "Asia/Seoul", "2026-12-31T15:00:00"),
        ("at(2026-11-27T00:00:00)", None, None),
        ("cron(0 9 ? * MON-FRI *)", "Asia/Seoul", "2026-11-30T00:00:00"),
        ("cron(*/10 * * * ? *)", None, "2026-11-27T23:40:00"),
        ("cron(0 8 1 * ? *)", "UTC", "2026-12-01T08:00:00"),
        ("cron(0 8 1 1 ? 2020)", None, None),
        ("rate(5 minutes)", None, "2026-11-27T23:34:50"),
        ("rate(1 day)", None, "2026-11-28T23:29:50"),
    ],
)
def test_the_next_time(expression: str, timezone: str | None, expected: str | None) -> None:
    times = schedule(expression, timezone, NOW - 10, TimeScale())
    assert times(NOW) == (_seconds(expected) if expected is not None else None)


def test_rates_are_scaled_and_times_of_the_clock_are_not() -> None:
    assert schedule("rate(10 minutes)", None, NOW, TimeScale(0.01))(NOW + 1) == pytest.approx(NOW + 6)
    assert schedule("at(2026-11-27T23:40:00)", None, NOW, TimeScale(0.01))(NOW) == NOW + 600


def test_a_time_that_was_due_is_not_due_again() -> None:
    times = schedule("cron(*/10 * * * ? *)", None, NOW, TimeScale())
    first = times(NOW)
    assert first is not None
    assert times(first) == first + 600


@pytest.mark.parametrize(
    ("expression", "timezone", "words"),
    [
        ("every minute", None, r"must be at\(...\), rate\(...\) or cron"),
        ("at(tomorrow)", None, "yyyy-mm-ddThh:mm:ss"),
        ("rate(0 minutes)", None, "NUMBER minutes"),
        ("rate(1 fortnight)", None, "NUMBER minutes"),
        ("cron(0 9 * * MON-FRI *)", None, "question mark"),
        ("cron(0 9)", None, "6 required"),
        ("rate(1 day)", "Mars/Olympus", "Timezone 'Mars/Olympus' is unknown"),
    ],
)
def test_schedules_that_are_invalid_say_so(expression: str, timezone: str | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        schedule(expression, timezone, NOW, TimeScale())
