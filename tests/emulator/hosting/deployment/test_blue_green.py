"""Blue/green deployments by boto3: shares of the traffic, two fleets, rollbacks, and no failed call."""

import os
import signal
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.emulator.hosting.deployment.harness import Deployments, blue_green, canary, guarded, instances, linear
from tests.support.waiting import wait_for


def test_a_canary_gets_its_share_and_both_fleets_are_described(patient: Deployments) -> None:
    patient.endpoint("shared")
    alarm = patient.alarm("shared-alarm")
    patient.update("shared", "shared-new", guarded(canary(20), alarm))
    patient.wait_for_stage("shared", "Baking", 0.2)
    seen = patient.describe("shared")
    assert 1 <= patient.answers("shared", 100)["new"] <= 45  # 20, and six standard deviations
    assert (seen["EndpointStatus"], seen["EndpointConfigName"]) == ("Updating", "shared-old")
    assert seen["ProductionVariants"][0]["CurrentWeight"] == 0.8
    pending = seen["PendingDeploymentSummary"]
    (variant,) = pending["ProductionVariants"]
    assert pending["EndpointConfigName"] == "shared-new"
    assert (variant["CurrentWeight"], variant["DesiredWeight"]) == (0.2, 1.0)
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (1, 1)
    assert variant["VariantStatus"][0]["Status"] == "Baking"
    patient.trip(alarm)
    patient.wait_for_status("shared", "InService")
    patient.delete("shared")


def test_a_canary_gets_all_of_the_traffic_in_the_end(deployments: Deployments) -> None:
    deployments.endpoint("canary")
    config = canary(20, 300, TerminationWaitInSeconds=3600)
    with deployments.load("canary", 1) as load:
        deployments.update("canary", "canary-new", config)
        state = deployments.wait_for_stage("canary", "Waiting", 1.0)
        assert len(instances(state, "canary-old")) == 1  # still there, without traffic
        seen = deployments.wait_for_status("canary", "InService")
        wait_for(lambda: load.names["new"] > 50, "calls of the new fleet")
    assert load.errors == []
    assert load.names["old"] and load.names["new"]
    assert seen["EndpointConfigName"] == "canary-new" and "FailureReason" not in seen
    assert seen["LastDeploymentConfig"] == config
    assert "PendingDeploymentSummary" not in seen
    assert deployments.answers("canary", 20) == {"new": 20}
    assert deployments.state("canary")["deployment"]["stage"] == "Done"
    deployments.delete("canary")


def test_a_linear_shift_under_load_fails_no_call(deployments: Deployments) -> None:
    deployments.endpoint("linear")
    with deployments.load("linear", 4) as load:
        deployments.update("linear", "linear-new", linear(25, 100))
        deployments.wait_for_share("linear", 0.5)
        deployments.wait_for_share("linear", 0.75)
        deployments.wait_for_status("linear", "InService")
        counted = load.names["new"]
        wait_for(lambda: load.names["new"] > counted + 20, "calls of the new fleet")
    assert load.errors == []
    assert load.names["old"]
    assert deployments.answers("linear", 20) == {"new": 20}
    deployments.delete("linear")


def test_an_alarm_on_the_new_fleets_errors_rolls_a_canary_back(deployments: Deployments) -> None:
    deployments.endpoint("guarded")
    deployments.model("guarded-broken", status=500)
    deployments.cloudwatch.put_metric_alarm(
        AlarmName="guarded-errors",
        Namespace="AWS/SageMaker",
        MetricName="Invocation5XXErrors",
        Dimensions=[
            {"Name": "EndpointName", "Value": "guarded"},
            {"Name": "VariantName", "Value": "AllTraffic"},
            {"Name": "EndpointConfigName", "Value": "guarded-broken"},
        ],
        Statistic="Average",
        Period=60,
        EvaluationPeriods=1,
        Threshold=0.5,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )
    with deployments.load("guarded") as load:
        deployments.update(
            "guarded", "guarded-broken", guarded(canary(50, TerminationWaitInSeconds=3600), "guarded-errors")
        )
        seen = deployments.wait_for_status("guarded", "InService")
        counted = load.names["old"]
        wait_for(lambda: load.names["old"] > counted + 20, "calls of the old fleet")
    assert seen["EndpointConfigName"] == "guarded-old"
    assert seen["FailureReason"] == "The alarm(s) guarded-errors of AutoRollbackConfiguration tripped."
    assert load.errors and all("status (500)" in error or "server error (500)" in error for error in load.errors)
    assert deployments.answers("guarded", 20) == {"old": 20}
    events = [event for event in deployments.events("guarded") if event["kind"] == "deployment"]
    assert [event["message"].partition(") ")[2] for event in events][-2:] == ["rolls back", "is rolled back"]
    assert "RollingBack" in " ".join(event["message"] for event in deployments.events("guarded"))
    deployments.delete("guarded")


def test_all_at_once_bakes_and_can_still_be_rolled_back(patient: Deployments) -> None:
    patient.endpoint("at-once")
    alarm = patient.alarm("at-once-alarm")
    with patient.load("at-once") as load:
        patient.update("at-once", "at-once-new", guarded(blue_green("ALL_AT_ONCE", 3600), alarm))
        state = patient.wait_for_stage("at-once", "Baking", 1.0)
        assert patient.answers("at-once", 10) == {"new": 10}
        assert [len(instances(state, f"at-once-{kind}")) for kind in ("old", "new")] == [1, 1]
        patient.trip(alarm)
        seen = patient.wait_for_status("at-once", "InService")
    assert load.errors == []
    assert seen["EndpointConfigName"] == "at-once-old"
    assert patient.answers("at-once", 10) == {"old": 10}
    patient.delete("at-once")


def test_a_new_fleet_that_never_gets_healthy_is_rolled_back(deployments: Deployments) -> None:
    deployments.endpoint("sick")
    deployments.model("sick-exits", environment={"SMALL_EXIT": "3"})
    with deployments.load("sick", 1) as load:
        deployments.update("sick", "sick-exits", canary(10))
        seen = deployments.wait_for_status("sick", "InService")
    assert load.errors == []
    assert "did not pass the ping health check" in seen["FailureReason"]
    assert seen["EndpointConfigName"] == "sick-old"
    assert deployments.state("sick")["deployment"]["stage"] == "RolledBack"
    deployments.delete("sick")


def test_a_rollback_to_a_fleet_that_has_died_fails_and_the_new_one_serves(patient: Deployments, tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    patient.model("died-old", environment={"SMALL_HOLD": str(hold)})
    patient.model("died-new")
    patient.sagemaker.create_endpoint(EndpointName="died", EndpointConfigName="died-old")
    patient.local.wait("died")
    alarm = patient.alarm("died-alarm")
    patient.update("died", "died-new", guarded(blue_green("ALL_AT_ONCE", 3600), alarm))
    (old,) = instances(patient.wait_for_stage("died", "Baking", 1.0), "died-old")
    hold.touch()  # what starts in its place does not get in service
    os.kill(old["pid"], signal.SIGKILL)
    wait_for(lambda: instances(patient.state("died"), "died-old")[0]["status"] == "Restarting", "a dead fleet")
    patient.trip(alarm)
    seen = patient.wait_for_status("died", "UpdateRollbackFailed")
    assert seen["FailureReason"] == (
        "The alarm(s) died-alarm of AutoRollbackConfiguration tripped. The old fleet has no instance in service that"
        " could take the traffic back."
    )
    assert patient.answers("died", 10) == {"new": 10}
    with pytest.raises(ClientError, match="in status UpdateRollbackFailed; call UpdateEndpoint, or delete"):
        patient.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName="died", DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredWeight": 2.0}]
        )
    patient.update("died", "died-new", blue_green("ALL_AT_ONCE", 0))
    seen = patient.wait_for_status("died", "InService")
    assert seen["EndpointConfigName"] == "died-new" and "FailureReason" not in seen
    assert [variant["config"] for variant in patient.state("died")["variants"]] == ["died-new"]
    patient.delete("died")


def test_sessions_stay_with_the_fleet_that_opened_them(patient: Deployments) -> None:
    patient.endpoint("sticky")
    alarm = patient.alarm("sticky-alarm")
    session = patient.local.invoke("sticky", None, SessionId="NEW_SESSION")["NewSessionId"]
    patient.update("sticky", "sticky-new", guarded(blue_green("ALL_AT_ONCE", 3600), alarm))
    patient.wait_for_stage("sticky", "Baking", 1.0)
    name = session.partition(";")[0]
    answers = [patient.local.invoke("sticky", None, SessionId=name)["Body"].read() for _ in range(5)]
    assert all(b'"sticky-old"' in answer for answer in answers)
    assert patient.answers("sticky", 5) == {"new": 5}
    patient.trip(alarm)
    patient.wait_for_status("sticky", "InService")
    patient.delete("sticky")


def test_deployments_are_metrics_of_prometheus(deployments: Deployments) -> None:
    deployments.endpoint("measured")
    deployments.update("measured", "measured-new", canary(20, 0))
    deployments.wait_for_status("measured", "InService")
    labels = 'endpoint="measured",region="ap-northeast-2"'
    metrics = deployments.metrics()
    assert f"polyhost_deployments_done_total{{{labels}}} 1.0" in metrics
    for config, share in (("old", 0.0), ("new", 1.0)):
        assert f'polyhost_deployment_share{{config="measured-{config}",{labels}}} {share}' in metrics
    deployments.delete("measured")
    assert "measured-new" not in deployments.metrics()


def test_an_update_and_a_deletion_during_a_canary_are_rejected(patient: Deployments) -> None:
    patient.endpoint("busy-canary")
    alarm = patient.alarm("busy-alarm")
    patient.update("busy-canary", "busy-canary-new", guarded(canary(10), alarm))
    patient.wait_for_stage("busy-canary", "Baking", 0.1)
    words = r'Cannot update in-progress endpoint "arn:.*:endpoint/busy-canary"'
    with pytest.raises(ClientError, match=words):
        patient.update("busy-canary", "busy-canary-new", canary(10))
    with pytest.raises(ClientError, match=words):
        patient.delete("busy-canary")
    patient.trip(alarm)
    patient.wait_for_status("busy-canary", "InService")
    patient.delete("busy-canary")
