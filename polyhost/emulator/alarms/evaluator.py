"""The evaluation of all alarms, again and again, on a clock of its own.

An alarm is evaluated at each multiple of a minute since 1970, one of high resolution at each multiple of ten seconds
(CloudWatch user guide, "Alarm evaluation"), all of them times the time scale. Its newest period ends then.
"""

import asyncio
import logging
import math
import time
from typing import Any

from polyhost.emulator.alarms.alarm import AlarmState, MetricAlarm
from polyhost.emulator.alarms.evaluation import evaluate, periods_read
from polyhost.emulator.alarms.rules import AlarmRule
from polyhost.emulator.alarms.samples import read_samples
from polyhost.emulator.alarms.service import Alarms
from polyhost.emulator.telemetry.cloudwatch import publishing_period
from polyhost.emulator.time_scale import TimeScale

_SHORTEST_S = 10  # between two evaluations, before scaling

logger = logging.getLogger(__name__)


class AlarmEvaluator:
    """Evaluates the alarms that clients put through this emulator."""

    def __init__(self, alarms: Alarms, scale: TimeScale) -> None:
        self._alarms = alarms
        self._scale = scale
        self._tick_s = scale.passing(_SHORTEST_S)
        # What happened before the tick is published by then.
        self._delay_s = publishing_period(scale)

    async def run(self) -> None:
        """Evaluate until cancelled; failures are logged."""
        tick = math.floor(time.time() / self._tick_s)
        while True:
            # A tick that was missed, because the machine was busy, is left out.
            tick = max(tick + 1, math.floor((time.time() - self._delay_s) / self._tick_s))
            await asyncio.sleep(max(0.0, tick * self._tick_s + self._delay_s - time.time()))
            try:
                await asyncio.to_thread(self.evaluate, tick)
            except Exception:
                logger.exception("cannot evaluate the alarms")

    def evaluate(self, tick: int) -> None:
        """Evaluate what is due at this multiple of the shortest time between evaluations. Any thread may call it."""
        for region in self._alarms.regions():
            alarms = self._alarms.of_region(region)
            due = [alarm for alarm in alarms if isinstance(alarm.meaning, MetricAlarm) and self._is_due(alarm, tick)]
            if due:
                self._evaluate_metrics(region, due, tick)
            self._evaluate_composites(region, [alarm for alarm in alarms if isinstance(alarm.meaning, AlarmRule)])

    def _is_due(self, alarm: Any, tick: int) -> bool:
        number: int = tick // (alarm.meaning.evaluated_every // _SHORTEST_S)
        known: int | None = getattr(alarm, "evaluated", None)
        alarm.evaluated = number
        return number != known

    def _evaluate_metrics(self, region: str, due: list[Any], tick: int) -> None:
        passing = self._scale.passing
        longest = max(passing(alarm.meaning.period) * periods_read(alarm.meaning) for alarm in due)
        metrics = [metric for alarm in due for metric in alarm.meaning.source.metrics]
        samples = read_samples(region, metrics, passing(tick * _SHORTEST_S - 60) - longest)
        for alarm in due:
            parsed: MetricAlarm = alarm.meaning
            at = passing(alarm.evaluated * parsed.evaluated_every)
            with self._alarms.lock:
                current = AlarmState(alarm.state_value)
                found = evaluate(parsed, samples, at, passing(parsed.period), current)
                if found is not None and found.state is not current:
                    self._alarms.set_state(region, alarm, found.state, found.reason, found.json())

    def _evaluate_composites(self, region: str, alarms: list[Any]) -> None:
        """Evaluate composite alarms until none changes: one may be about another."""
        for _ in alarms:
            changed = [self._evaluate_composite(region, alarm) for alarm in alarms]
            if not any(changed):
                return

    def _evaluate_composite(self, region: str, alarm: Any) -> bool:
        """Return whether the state has changed."""
        rule: AlarmRule = alarm.meaning
        states = self._alarms.states(region, rule.names)
        state = AlarmState.ALARM if rule.holds(lambda name: states[name]) else AlarmState.OK
        if state == alarm.state_value:
            return False
        children = [child for child in self._alarms.of_region(region) if child.name in rule.names]
        cause = max(children, key=lambda child: child.state_updated_timestamp, default=None)
        if cause is None:
            reason = f"The rule of the alarm is {str(state is AlarmState.ALARM).upper()}."
        else:
            when = cause.state_updated_timestamp.strftime("%A %d %B, %Y %H:%M:%S UTC")
            reason = f"{cause.alarm_arn} transitioned to {cause.state_value} at {when}"
        self._alarms.set_state(region, alarm, state, reason, None, [cause] if cause is not None else [])
        return True
