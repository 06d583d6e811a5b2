"""Alarms as a client puts them: they fire, tell SNS, and what the emulator does not evaluate is rejected."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.emulator.alarms.harness import NAMESPACE, AlarmHarness
from tests.emulator.conftest import REGION
from tests.support.waiting import wait_for


def test_an_alarm_fires_recovers_and_has_a_history(alarms: AlarmHarness) -> None:
    name = alarms.put(TreatMissingData="notBreaching")
    with alarms.publishing(10, name):
        fired = alarms.wait_for_state(name, "ALARM")
    assert fired["StateReason"].startswith("Threshold Crossed: 1 out of the last 1 datapoints [")
    assert fired["StateReason"].endswith("(5.0) (minimum 1 datapoint for OK -> ALARM transition).")
    assert json.loads(fired["StateReasonData"])["threshold"] == 5.0
    assert fired["StateTransitionedTimestamp"] == fired["StateUpdatedTimestamp"]
    alarms.wait_for_state(name, "OK")
    items = alarms.history(name, HistoryItemType="StateUpdate")
    summaries = [item["HistorySummary"] for item in items]
    assert summaries[-2:] == ["Alarm updated from OK to ALARM", "Alarm updated from ALARM to OK"] or summaries[-2:] == [
        "Alarm updated from INSUFFICIENT_DATA to ALARM",
        "Alarm updated from ALARM to OK",
    ]
    states = json.loads(items[-1]["HistoryData"])
    assert (states["oldState"]["stateValue"], states["newState"]["stateValue"]) == ("ALARM", "OK")
    assert alarms.history(name)[0]["HistorySummary"] == f'Alarm "{name}" created'


def test_a_new_alarm_has_insufficient_data_until_values_come(alarms: AlarmHarness) -> None:
    name = alarms.put()
    assert alarms.describe(name)["StateValue"] == "INSUFFICIENT_DATA"
    with alarms.publishing(0, name):
        alarms.wait_for_state(name, "OK")
    reason = alarms.wait_for_state(name, "INSUFFICIENT_DATA")["StateReason"]
    assert reason == "Insufficient Data: 1 datapoint was unknown."


def test_actions_publish_awss_message(alarms: AlarmHarness) -> None:
    topic, queue = alarms.subscribed_topic()
    name = alarms.put(
        AlarmActions=[topic],
        OKActions=[topic],
        AlarmDescription="too much",
        Dimensions=[{"Name": "EndpointName", "Value": "e"}],
        TreatMissingData="notBreaching",
    )
    first = json.loads(alarms.receive(queue)["Message"])  # INSUFFICIENT_DATA -> OK
    assert (first["OldStateValue"], first["NewStateValue"]) == ("INSUFFICIENT_DATA", "OK")
    with alarms.publishing(10, name, Dimensions=[{"Name": "EndpointName", "Value": "e"}]):
        notification = alarms.receive(queue)
    assert notification["Subject"] == f'ALARM: "{name}" in Asia Pacific (Seoul)'
    message = json.loads(notification["Message"])
    described = alarms.describe(name)
    assert {key: message[key] for key in ("AlarmName", "AlarmDescription", "AWSAccountId", "Region", "AlarmArn")} == {
        "AlarmName": name,
        "AlarmDescription": "too much",
        "AWSAccountId": "123456789012",
        "Region": "Asia Pacific (Seoul)",
        "AlarmArn": described["AlarmArn"],
    }
    assert (message["OldStateValue"], message["NewStateValue"]) == ("OK", "ALARM")
    assert message["AlarmActions"] == message["OKActions"] == [topic]
    assert message["Trigger"] == {
        "MetricName": name,
        "Namespace": NAMESPACE,
        "StatisticType": "Statistic",
        "Statistic": "SUM",
        "Unit": None,
        "Dimensions": [{"value": "e", "name": "EndpointName"}],
        "Period": 60,
        "EvaluationPeriods": 1,
        "DatapointsToAlarm": 1,
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 5.0,
        "TreatMissingData": "notBreaching",
        "EvaluateLowSampleCountPercentile": "",
    }
    done = wait_for(lambda: alarms.history(name, HistoryItemType="Action"), "an action in the history")
    assert done[0]["HistorySummary"] == f"Successfully executed action {topic}"


def test_set_alarm_state_carries_out_actions_and_lasts_until_the_next_evaluation(alarms: AlarmHarness) -> None:
    topic, queue = alarms.subscribed_topic()
    name = alarms.put(AlarmActions=[topic], TreatMissingData="ignore")  # without data it keeps its state
    alarms.cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="by hand")
    message = json.loads(alarms.receive(queue)["Message"])
    assert (message["NewStateValue"], message["NewStateReason"]) == ("ALARM", "by hand")
    alarms.put(AlarmName=name, AlarmActions=[topic], TreatMissingData="ignore", Threshold=7.0, MetricName=name)
    changed = alarms.describe(name)
    assert (changed["StateValue"], changed["Threshold"]) == ("ALARM", 7.0)  # an update keeps the state
    alarms.cloudwatch.disable_alarm_actions(AlarmNames=[name])


def test_actions_that_fail_are_in_the_history(alarms: AlarmHarness) -> None:
    missing, function = f"arn:aws:sns:{REGION}:123456789012:none", f"arn:aws:lambda:{REGION}:123456789012:function:f"
    name = alarms.put(AlarmActions=[missing, function], TreatMissingData="ignore")
    alarms.cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="by hand")
    items = wait_for(
        lambda: (found := alarms.history(name, HistoryItemType="Action")) and len(found) == 2 and found,
        "two actions in the history",
    )
    first, second = (json.loads(item["HistoryData"]) for item in items)
    assert first["actionState"] == second["actionState"] == "Failed"
    assert missing in first["error"] and "topics of SNS, and has the scaling policies" in second["error"]


def test_composite_alarms_follow_others(alarms: AlarmHarness) -> None:
    topic, queue = alarms.subscribed_topic()
    one, two = alarms.put(TreatMissingData="ignore"), alarms.put(TreatMissingData="ignore")
    name = f"{one}-composite"
    rule = f'ALARM("{one}") AND NOT OK("{two}")'
    alarms.cloudwatch.put_composite_alarm(AlarmName=name, AlarmRule=rule, AlarmActions=[topic])
    alarms.wait_for_state(name, "OK", "CompositeAlarm")
    alarms.cloudwatch.set_alarm_state(AlarmName=one, StateValue="ALARM", StateReason="by hand")
    fired = alarms.wait_for_state(name, "ALARM", "CompositeAlarm")
    assert f":alarm:{one} transitioned to ALARM at " in fired["StateReason"]
    message = json.loads(alarms.receive(queue)["Message"])
    assert message["AlarmRule"] == rule
    assert [child["State"]["Value"] for child in message["TriggeringChildren"]] == ["ALARM"]
    assert alarms.cloudwatch.describe_alarms(AlarmNames=[name])["CompositeAlarms"] == []


def test_metric_math(alarms: AlarmHarness) -> None:
    name = alarms.put(MetricName=None, Namespace=None, Statistic=None, Period=None, Metrics=_ratio("errors", "calls"))
    with alarms.publishing(3, "errors"), alarms.publishing(4, "calls"):
        alarms.wait_for_state(name, "ALARM")
    assert alarms.describe(name)["Metrics"][2]["Expression"] == "100 * e / c"


def test_percentiles(alarms: AlarmHarness) -> None:
    name = alarms.put(Statistic=None, ExtendedStatistic="p50")
    data = [{"MetricName": name, "Values": [1, 10], "Counts": [1, 9]}]

    def in_alarm() -> bool:
        alarms.cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data)
        return bool(alarms.describe(name)["StateValue"] == "ALARM")

    wait_for(in_alarm, "the percentile above the threshold")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"Period": 45}, "Period is 45; valid values are 10, 20, 30 and multiples of 60"),
        ({"DatapointsToAlarm": 2}, "DatapointsToAlarm is 2"),
        ({"EvaluationPeriods": 1441}, "Metrics cannot be checked across more than a day"),
        ({"TreatMissingData": "bad"}, "Option bad is not supported"),
        ({"Statistic": None}, "either Statistic or ExtendedStatistic"),
        ({"ExtendedStatistic": "p90"}, "either Statistic or ExtendedStatistic"),
        ({"Statistic": None, "ExtendedStatistic": "pq"}, "'pq' is no statistic"),
        ({"Threshold": None}, "lacks Threshold"),
        ({"ThresholdMetricId": "m1"}, "does not support ThresholdMetricId"),
        ({"ComparisonOperator": "LessThanLowerThreshold"}, "anomaly detection"),
        ({"Metrics": [{"Id": "m1", "Expression": "1"}]}, "must be left out"),
    ],
)
def test_alarms_that_are_not_evaluated_are_rejected(alarms: AlarmHarness, members: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientError, match=words) as caught:
        alarms.put(AlarmName="rejected", **members)
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    assert alarms.cloudwatch.describe_alarms(AlarmNames=["rejected"])["MetricAlarms"] == []


def test_functions_of_metric_math_that_are_missing_are_named(alarms: AlarmHarness) -> None:
    metrics = _ratio("errors", "calls")
    metrics[2]["Expression"] = "ANOMALY_DETECTION_BAND(e)"
    with pytest.raises(ClientError, match="does not have ANOMALY_DETECTION_BAND"):
        alarms.put(MetricName=None, Namespace=None, Statistic=None, Period=None, Metrics=metrics)


def test_rules_of_alarms_that_do_not_exist_are_rejected(alarms: AlarmHarness) -> None:
    with pytest.raises(ClientError, match="contains alarms that do not exist: none"):
        alarms.cloudwatch.put_composite_alarm(AlarmName="rejected", AlarmRule="ALARM(none)")


def _ratio(errors: str, calls: str) -> list[dict[str, Any]]:
    names = {"e": errors, "c": calls}
    metrics: list[dict[str, Any]] = [
        {
            "Id": key,
            "MetricStat": {"Metric": {"Namespace": NAMESPACE, "MetricName": name}, "Period": 60, "Stat": "Sum"},
            "ReturnData": False,
        }
        for key, name in names.items()
    ]
    return [*metrics, {"Id": "ratio", "Expression": "100 * e / c", "ReturnData": True}]
