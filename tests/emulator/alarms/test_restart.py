"""Alarms survive SIGKILL with the same --state, and go on."""

from pathlib import Path

import pytest

from tests.emulator.alarms.harness import AlarmHarness
from tests.emulator.async_inference.machine import Machine

pytestmark = pytest.mark.slow


def test_alarms_survive_a_killed_emulator(tmp_path: Path) -> None:
    machine = Machine(tmp_path, time_scale=0.01)
    with machine.emulator() as local:
        alarms = AlarmHarness(local.emulator)
        topic, _ = alarms.subscribed_topic()
        kept = alarms.put(MetricName="kept", TreatMissingData="ignore", AlarmActions=[topic])
        percentile = alarms.put(Statistic=None, ExtendedStatistic="p90")
        errors = {"Id": "e", "Expression": "m / 2", "ReturnData": True}
        stat = {"Metric": {"Namespace": "Tests", "MetricName": "m"}, "Period": 60, "Stat": "Sum"}
        query = [errors, {"Id": "m", "MetricStat": stat, "ReturnData": False}]
        of_one = dict.fromkeys(("MetricName", "Namespace", "Statistic", "Period"))
        math = alarms.put(Metrics=query, **of_one)
        deleted = alarms.put()
        composite = "either"
        alarms.cloudwatch.put_composite_alarm(AlarmName=composite, AlarmRule=f'ALARM("{kept}") OR ALARM("{math}")')
        alarms.cloudwatch.delete_alarms(AlarmNames=[deleted])
        with alarms.publishing(6, "kept"):
            alarms.wait_for_state(kept, "ALARM")
            alarms.wait_for_state(composite, "ALARM", "CompositeAlarm")
        before = {name: alarms.describe(name) for name in (kept, percentile, math)}
        history = alarms.history(kept)
        machine.kill(local)

    with machine.emulator() as local:
        alarms = AlarmHarness(local.emulator)
        names = [alarm["AlarmName"] for alarm in alarms.cloudwatch.describe_alarms()["MetricAlarms"]]
        assert sorted(names) == sorted(before)
        # What no request and no change of a state has told may be missing: the outcome of the last action.
        assert alarms.history(kept)[: len(history) - 1] == history[: len(history) - 1]
        assert alarms.describe(kept) == before[kept]  # IGNORE: without values it stays in ALARM
        assert alarms.describe(composite, "CompositeAlarm")["StateValue"] == "ALARM"
        with alarms.publishing(0, "kept"):
            alarms.wait_for_state(kept, "OK")
            alarms.wait_for_state(composite, "OK", "CompositeAlarm")
