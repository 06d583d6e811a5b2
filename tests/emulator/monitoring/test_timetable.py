"""When executions are due, and what they analyse."""

import pytest

from polyhost.emulator.monitoring.spec import MonitoringType, MonitorSpec, Window
from polyhost.emulator.monitoring.timetable import Timetable, offset_s
from polyhost.emulator.time_scale import TimeScale

DAY_S, HOUR_S = 86_400.0, 3_600.0
MONDAY = 20_000 * DAY_S
UNSCALED = TimeScale()


def spec(**members: float) -> MonitorSpec:
    return MonitorSpec(MonitoringType.DATA_QUALITY, "e", "s3://b/out", "s3://b/c.json", **members)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expression", "hours"),
    [
        ("cron(0 * ? * * *)", [1, 2, 3]),
        ("cron(0 17 ? * * *)", [17, 41, 65]),
        ("cron(0 5/6 ? * * *)", [5, 11, 17, 23, 29]),
        ("cron(0 */8 ? * * *)", [8, 16, 24]),
    ],
)
def test_executions_are_due_at_full_hours(expression: str, hours: list[int]) -> None:
    table, at, found = Timetable.parse(expression), MONDAY, []
    for _ in hours:
        at = table.next(at, UNSCALED)
        found.append((at - MONDAY) / HOUR_S)
    assert found == hours


def test_an_execution_analyses_the_time_since_the_one_before() -> None:
    for expression, hours in (("cron(0 * ? * * *)", 1), ("cron(0 17 ? * * *)", 24), ("cron(0 5/6 ? * * *)", 6)):
        window = Timetable.parse(expression).window(MONDAY, spec(), UNSCALED)
        assert window == Window(MONDAY - hours * HOUR_S, MONDAY)


def test_offsets_and_the_time_scale() -> None:
    table = Timetable.parse("cron(0 * ? * * *)")
    scale = TimeScale(0.01)
    assert table.next(MONDAY, scale) == MONDAY + 36
    shifted = spec(start_offset_s=offset_s("-PT3H"), end_offset_s=offset_s("-PT1H"))
    assert table.window(MONDAY, shifted, scale) == Window(MONDAY - 108, MONDAY - 36)


@pytest.mark.parametrize(
    ("text", "seconds"), [("-PT1H", -3600), ("PT0H", 0), ("-P1DT2H3M", -93_780), ("P1D", 86_400), ("-PT5M", -300)]
)
def test_offsets(text: str, seconds: float) -> None:
    assert offset_s(text) == seconds


@pytest.mark.parametrize("text", ["1H", "-PT1S", "", "P-1D"])
def test_invalid_offsets(text: str) -> None:
    with pytest.raises(ValueError, match="ISO 8601"):
        offset_s(text)


@pytest.mark.parametrize(
    "expression",
    [
        "cron(0 24 ? * * *)",
        "cron(0 0/25 ? * * *)",
        "cron(5 * ? * * *)",
        "rate(1 hour)",
        "cron(0 * * * ? *)",
        "cron(0 0/0 ? * * *)",
    ],
)
def test_invalid_expressions(expression: str) -> None:
    with pytest.raises(ValueError, match="hours"):
        Timetable.parse(expression)
