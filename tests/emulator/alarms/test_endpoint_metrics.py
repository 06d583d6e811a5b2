"""Alarms on the metrics of endpoints."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.errors import StartError
from polyhost.emulator.server import Emulator
from tests.emulator.alarms.harness import AlarmHarness
from tests.emulator.conftest import COMMAND, Local
from tests.support.waiting import wait_for


def test_a_percentile_of_an_endpoints_latency() -> None:
    with Emulator(EmulatorConfig(port=0, command=COMMAND, time_scale=0.01)) as emulator:
        local, alarms = Local(emulator), AlarmHarness(emulator)
        local.upload("latency", "a")
        local.host("latency")
        dimensions = [{"Name": "EndpointName", "Value": "latency"}, {"Name": "VariantName", "Value": "AllTraffic"}]
        name = alarms.put(
            Namespace="AWS/SageMaker",
            MetricName="ModelLatency",
            Dimensions=dimensions,
            Statistic=None,
            ExtendedStatistic="p90",
            Unit="Microseconds",
            Threshold=1.0,
        )
        other = alarms.put(
            Namespace="AWS/SageMaker",
            MetricName="ModelLatency",
            Dimensions=[*dimensions, {"Name": "EndpointConfigName", "Value": "none"}],
            TreatMissingData="breaching",
        )
        ended, calls = threading.Event(), [0]

        def call() -> None:
            while not ended.is_set():
                local.invoke("latency", "a")
                calls[0] += 1

        caller = threading.Thread(target=call)
        caller.start()
        try:
            fired = alarms.wait_for_state(name, "ALARM")
            reason = alarms.wait_for_state(other, "ALARM")["StateReason"]
        finally:
            ended.set()
            caller.join()
        assert '"statistic": "p90"' in fired["StateReasonData"]
        assert "no datapoints were received" in reason  # they are of exactly the dimensions that it names
        _expect_exact_dimensions(alarms, dimensions, calls[0])


def _expect_exact_dimensions(alarms: AlarmHarness, dimensions: list[dict[str, str]], calls: int) -> None:
    now = datetime.now(UTC)

    def counted(*further: dict[str, str]) -> float:
        points = alarms.cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName="Invocations",
            Dimensions=[*dimensions, *further],
            StartTime=now - timedelta(minutes=30),
            EndTime=now + timedelta(minutes=30),
            Period=7200,
            Statistics=["Sum"],
        )["Datapoints"]
        return float(sum(point["Sum"] for point in points))

    # With the values of both kinds of dimensions, the first would be twice as many.
    wait_for(lambda: counted() >= calls, "all calls in CloudWatch")
    config = {"Name": "EndpointConfigName", "Value": "latency"}
    assert counted() == counted(config) == calls


@pytest.mark.parametrize("factor", [0.0, 0.004, 1.1, -1.0])
def test_a_time_scale_that_makes_no_sense_is_rejected(factor: float) -> None:
    with pytest.raises(StartError, match=r"invalid time scale .*; give --time-scale a factor from 0.005 to 1"):
        Emulator(EmulatorConfig(port=0, time_scale=factor)).__enter__()
