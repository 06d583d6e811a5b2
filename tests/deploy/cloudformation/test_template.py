"""The template of a multi-model endpoint: the AWS CLI brings the real thing up, updates it and takes it down."""

import subprocess
import sys
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from tests.deploy.cloudformation.harness import TEMPLATE, DeployedStack
from tests.emulator.small_container import __file__ as CONTAINER
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow

EVERYTHING: dict[str, Any] = {
    "MaxInstanceCount": 3,
    "AlarmEmail": "a@example.com",
    "CapturePrefix": "s3://models/captured",
    "SubnetIds": "subnet-1,subnet-2",
    "SecurityGroupIds": "sg-1",
    "KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/a",
    "VolumeSizeInGB": 20,
}


def _containers() -> int:
    """Count the processes of containers, all of which are this emulator's or of a test beside it."""
    mine = psutil.Process().children(recursive=True)
    return sum(CONTAINER in " ".join(process.cmdline()) for process in mine if process.is_running())


def test_cfn_lint() -> None:
    program = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([program, str(TEMPLATE)], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "")


def test_creation_canary_and_deletion(stack: DeployedStack) -> None:
    before = _containers()
    stack.deploy()
    assert stack.answers() == ["one", "two"]
    assert _containers() > before
    outputs = {item["OutputKey"]: item["OutputValue"] for item in stack.describe()["Outputs"]}
    assert outputs["EndpointName"] == stack.name
    assert outputs["Image"].endswith("/models:v1")
    old = stack.endpoint()["EndpointConfigName"]
    stack.deploy(ImageTag="v2", StepPercent=20)
    found = stack.endpoint()
    assert found["EndpointConfigName"] != old
    routing = found["LastDeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert (routing["Type"], routing["CanarySize"]["Value"]) == ("CANARY", 20)
    image = found["ProductionVariants"][0]["DeployedImages"][0]["SpecifiedImage"]
    assert image.endswith("/models:v2")
    assert stack.answers() == ["one", "two"]
    assert "No changes to deploy" in stack.deploy(ok=False, ImageTag="v2", StepPercent=20)
    stack.delete()
    assert stack.left() == {}
    wait_for(lambda: _containers() <= before, "the end of the containers")


def test_an_image_that_does_not_start_is_rolled_back(stack: DeployedStack) -> None:
    stack.deploy()
    old = stack.endpoint()["EndpointConfigName"]
    stack.deploy(ok=False, ImageTag="ends")
    assert stack.describe()["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "did not pass the ping health check" in stack.reasons("UPDATE_FAILED")["Endpoint"]
    assert stack.endpoint()["EndpointConfigName"] == old
    assert stack.answers() == ["one", "two"]
    assert len(stack.left()["models"]) == 1


def test_an_alarm_rolls_an_update_back(stack: DeployedStack) -> None:
    stack.deploy()
    old, ended = stack.endpoint()["EndpointConfigName"], Event()

    def call() -> None:
        while not ended.is_set():
            try:
                stack.answers()
            except ClientError:
                pass  # of the new instances, whose every answer is 500

    caller = Thread(target=call)
    caller.start()
    try:
        waits = {"StepPercent": 50, "StepSeconds": 3600, "DeploymentTimeoutSeconds": 28800}
        stack.deploy(ok=False, ImageTag="fails", **waits)
    finally:
        ended.set()
        caller.join()
    assert stack.describe()["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "ErrorAlarm" in stack.reasons("UPDATE_FAILED")["Endpoint"]
    assert stack.endpoint()["EndpointConfigName"] == old
    assert stack.answers() == ["one", "two"]


def test_every_option(stack: DeployedStack) -> None:
    stack.deploy(**EVERYTHING)
    left = stack.left()
    assert {kind: len(items) for kind, items in left.items()} == {
        "endpoints": 1,
        "configurations": 1,
        "models": 1,
        "alarms": 5,
        "dashboards": 1,
        "roles": 1,
        "topics": 1,
        "targets": 1,
    }
    config = stack.local.sagemaker.describe_endpoint_config(EndpointConfigName=stack.endpoint()["EndpointConfigName"])
    assert config["DataCaptureConfig"]["DestinationS3Uri"] == "s3://models/captured"
    assert config["ProductionVariants"][0]["VolumeSizeInGB"] == 20
    model = stack.local.sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    assert model["VpcConfig"] == {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}
    policies = stack.client("iam").list_role_policies(RoleName=left["roles"][0]["RoleName"])["PolicyNames"]
    assert sorted(policies) == ["capture", "endpoint", "key", "network"]
    stack.deploy(DeploymentType="NONE", Dashboard="false", ScalingMetric="Invocations", **EVERYTHING)
    assert "dashboards" not in stack.left()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"ModelPrefix": "models"}, "Parameter 'ModelPrefix' failed to satisfy constraint: ends in /"),
        ({"DeploymentType": "SLOW"}, "must be one of AllowedValues: NONE, ALL_AT_ONCE, CANARY, LINEAR"),
        ({"InstanceCount": 0}, "Parameter 'InstanceCount' must be a number not less than 1"),
    ],
)
def test_a_parameter_that_cannot_be_used(stack: DeployedStack, parameters: dict[str, Any], message: str) -> None:
    assert message in stack.deploy(ok=False, **parameters)
