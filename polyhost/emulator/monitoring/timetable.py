"""When a schedule's executions are due (developer guide, model-monitor-schedule-expression)."""

import math
import re
from dataclasses import dataclass
from typing import Self

from polyhost.emulator.monitoring.spec import MonitorSpec, Window
from polyhost.emulator.time_scale import TimeScale

NOW = "NOW"
_HOUR_S = 3600.0
_CRON = re.compile(r"cron\(0 (\*|\d{1,2})(?:/(\d{1,2}))? \? \* \* \*\)")
_OFFSET = re.compile(r"([+-]?)P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?)?")


@dataclass(frozen=True)
class Timetable:
    """Executions at full hours of UTC: from the hour `first` of each day on, every `step` hours."""

    first: int
    step: int

    @classmethod
    def parse(cls, expression: str) -> Self:
        """Return what an expression says. Raises ValueError."""
        match = _CRON.fullmatch(expression.strip())
        if match is None:
            raise ValueError(
                "it must be NOW, or run at full hours: cron(0 * ? * * *), cron(0 H ? * * *), or cron(0 H/N ? * * *)"
            )
        first, step = match.groups()
        table = cls(0 if first == "*" else int(first), int(step) if step else 1 if first == "*" else 24)
        if table.first > 23 or not 1 <= table.step <= 24:
            raise ValueError("hours are 0 to 23, and the hours between two executions 1 to 24")
        return table

    def next(self, after: float, scale: TimeScale) -> float:
        """Return when the next execution is due. Hours, and with them days, are as long as the scale says."""
        hour_s = scale.passing(_HOUR_S)
        number = math.floor(after / hour_s) + 1
        while not self._is_due(number % 24):
            number += 1
        return number * hour_s

    def window(self, due: float, spec: MonitorSpec, scale: TimeScale) -> Window:
        """Return the time that an execution analyses: that since the execution before, or as the offsets have it.

        It is in whole seconds, as the times of captures are: each is in the time of one execution.
        """
        start_s = -self.step * _HOUR_S if spec.start_offset_s is None else spec.start_offset_s
        times = (due + scale.passing(offset) for offset in (start_s, spec.end_offset_s or 0.0))
        start, end = (float(math.floor(at)) for at in times)
        return Window(start, end)

    def _is_due(self, hour: int) -> bool:
        return hour >= self.first and (hour - self.first) % self.step == 0


def offset_s(text: str) -> float:
    """Return an offset such as -PT1H in seconds. Raises ValueError."""
    match = _OFFSET.fullmatch(text)
    if match is None:
        raise ValueError("it must be a duration of ISO 8601 in days, hours and minutes, such as -PT1H")
    sign, days, hours, minutes = match.groups()
    total = ((int(days or 0) * 24 + int(hours or 0)) * 60 + int(minutes or 0)) * 60.0
    return -total if sign == "-" else total
