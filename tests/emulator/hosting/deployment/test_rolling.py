"""Rolling deployments by boto3: batches, rollbacks, and a rollback that fails."""

import threading

from tests.emulator.hosting.deployment.harness import Deployments, blue_green, guarded, instances, rolling
from tests.support.waiting import wait_for


def test_instances_are_replaced_batch_by_batch_and_no_call_fails(deployments: Deployments) -> None:
    deployments.endpoint("rolling", count=2)
    most, ended = [0], threading.Event()

    def count() -> None:
        while not ended.is_set():
            variants = deployments.state("rolling")["variants"]
            alive = [item for variant in variants for item in variant["instances"] if item["status"] == "InService"]
            most[0] = max(most[0], len(alive))

    counting = threading.Thread(target=count)
    counting.start()
    with deployments.load("rolling", 4) as load:
        deployments.update("rolling", "rolling-new-2", rolling(50, 300))
        state = deployments.wait_for_stage("rolling", "Baking", 0.5)
        assert [len(instances(state, f"rolling-{kind}-2")) for kind in ("old", "new")] == [1, 1]
        seen = deployments.wait_for_status("rolling", "InService")
        counted = load.names["new"]
        wait_for(lambda: load.names["new"] > counted + 20, "calls of the new fleet")
    ended.set()
    counting.join()
    assert load.errors == []
    assert most[0] <= 3  # one batch more than the endpoint has
    (variant,) = seen["ProductionVariants"]
    assert (seen["EndpointConfigName"], variant["CurrentInstanceCount"]) == ("rolling-new-2", 2)
    assert deployments.answers("rolling", 20) == {"new": 20}
    deployments.delete("rolling")


def test_a_tripped_alarm_brings_the_old_instances_back(patient: Deployments) -> None:
    patient.endpoint("returning", count=2)
    alarm = patient.alarm("returning-alarm")
    size = {"Type": "INSTANCE_COUNT", "Value": 1}
    config = rolling(50, 3600, RollbackMaximumBatchSize=size)
    with patient.load("returning") as load:
        patient.update("returning", "returning-new-2", guarded(config, alarm))
        patient.wait_for_stage("returning", "Baking", 0.5)
        (pending,) = patient.describe("returning")["PendingDeploymentSummary"]["ProductionVariants"]
        assert (pending["CurrentInstanceCount"], pending["DesiredInstanceCount"]) == (1, 2)
        patient.trip(alarm)
        seen = patient.wait_for_status("returning", "InService")
    assert load.errors == []
    (variant,) = seen["ProductionVariants"]
    assert (seen["EndpointConfigName"], variant["CurrentInstanceCount"]) == ("returning-old-2", 2)
    assert seen["FailureReason"] == "The alarm(s) returning-alarm of AutoRollbackConfiguration tripped."
    assert patient.answers("returning", 20) == {"old": 20}
    patient.delete("returning")


def test_a_rollback_whose_old_instances_cannot_start_leaves_a_mix(patient: Deployments) -> None:
    patient.endpoint("mixed", count=2)
    alarm = patient.alarm("mixed-alarm")
    patient.update("mixed", "mixed-new-2", guarded(rolling(50, 3600), alarm))
    patient.wait_for_stage("mixed", "Baking", 0.5)
    patient.local.s3.delete_object(Bucket="models", Key="mixed-old/model.tar.gz")
    patient.trip(alarm)
    seen = patient.wait_for_status("mixed", "UpdateRollbackFailed")
    assert "mixed-alarm of AutoRollbackConfiguration tripped. The old fleet cannot be" in seen["FailureReason"]
    assert "Failed to download model data" in seen["FailureReason"]
    counted = patient.answers("mixed", 60)
    assert counted["old"] and counted["new"]
    patient.update("mixed", "mixed-new-2", blue_green("ALL_AT_ONCE", 0))
    seen = patient.wait_for_status("mixed", "InService")
    assert seen["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    assert patient.answers("mixed", 20) == {"new": 20}
    patient.delete("mixed")


def test_a_batch_that_cannot_start_is_rolled_back(deployments: Deployments) -> None:
    deployments.endpoint("half", count=2)
    deployments.update("half", "half-new-2", rolling(50, 3600))
    deployments.wait_for_stage("half", "Baking", 0.5)
    deployments.local.s3.delete_object(Bucket="models", Key="half-new/model.tar.gz")
    seen = deployments.wait_for_status("half", "InService")
    assert seen["EndpointConfigName"] == "half-old-2"
    assert "Failed to download model data" in seen["FailureReason"]
    assert deployments.answers("half", 20) == {"old": 20}
    deployments.delete("half")
