"""Deployments of asynchronous and serverless endpoints."""

import pytest
from botocore.exceptions import ClientError

from tests.emulator.async_inference.harness import async_endpoint
from tests.emulator.hosting.deployment.harness import Deployments, blue_green, canary, guarded, rolling


def test_an_asynchronous_endpoint_answers_its_queue_during_a_canary(patient: Deployments) -> None:
    with async_endpoint(patient.local, "queued") as endpoint:
        alarm = patient.alarm("queued-alarm")
        patient.update("queued", "queued", guarded(canary(50), alarm))
        patient.wait_for_stage("queued", "Baking", 0.5)
        answers = [endpoint.answer(endpoint.invoke()) for _ in range(8)]
        assert {answer["length"] for answer in answers} == {4}
        patient.trip(alarm)
        patient.wait_for_status("queued", "InService")
        assert endpoint.answer(endpoint.invoke())["length"] == 4


def test_an_asynchronous_endpoint_of_no_instances_is_updated_in_batches_too(deployments: Deployments) -> None:
    with async_endpoint(deployments.local, "queued-none") as endpoint:
        name = endpoint.name
        config = deployments.describe(name)["EndpointConfigName"]
        endpoint.resize(0)
        deployments.sagemaker.update_endpoint(
            EndpointName=name,
            EndpointConfigName=config,
            RetainAllVariantProperties=True,
            DeploymentConfig=rolling(50, 0),
        )
        seen = deployments.wait_for_status(name, "InService")
        assert "FailureReason" not in seen
        assert seen["ProductionVariants"][0]["CurrentInstanceCount"] == 0
        endpoint.resize(1)


def test_a_serverless_canary_is_rolled_back(patient: Deployments) -> None:
    for kind in ("old", "new"):
        patient.model(f"less-{kind}")
        variant = {"VariantName": "v", "ModelName": f"less-{kind}"}
        capacity = {"MemorySizeInMB": 1024, "MaxConcurrency": 2}
        patient.sagemaker.create_endpoint_config(
            EndpointConfigName=f"less-{kind}-config", ProductionVariants=[variant | {"ServerlessConfig": capacity}]
        )
    patient.sagemaker.create_endpoint(EndpointName="less", EndpointConfigName="less-old-config")
    patient.local.wait("less")
    alarm = patient.alarm("less-alarm")
    size = {"CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1}}
    with pytest.raises(ClientError, match="CanarySize cannot be an INSTANCE_COUNT: variant v is serverless"):
        patient.update("less", "less-new-config", blue_green("CANARY", 0, size))
    patient.update("less", "less-new-config", guarded(canary(50), alarm))
    patient.wait_for_stage("less", "Baking", 0.5)
    (pending,) = patient.describe("less")["PendingDeploymentSummary"]["ProductionVariants"]
    assert pending["CurrentServerlessConfig"] == capacity
    assert set(patient.answers("less", 40)) == {"old", "new"}
    patient.trip(alarm)
    seen = patient.wait_for_status("less", "InService")
    assert "less-alarm" in seen["FailureReason"]
    assert set(patient.answers("less", 10)) == {"old"}
    patient.delete("less")
