"""Stacks outlive an emulator that is killed, as does what their endpoints serve."""

import json
from pathlib import Path
from typing import Any

import pytest

from polyhost.emulator.cloudformation.stack_store import StackStore
from polyhost.emulator.errors import StartError
from tests.emulator.archives import archive
from tests.emulator.cloudformation.harness import CAPABILITIES, resource
from tests.emulator.conftest import ROLE
from tests.emulator.moto_services.state.conftest import Durable, durable
from tests.support.waiting import wait_for

TEMPLATE = {
    "Parameters": {"Shown": {"Type": "String", "Default": "one"}},
    "Resources": {
        "Topic": resource("AWS::SNS::Topic", TopicName="kept", DisplayName={"Ref": "Shown"}),
        "Model": resource(
            "AWS::SageMaker::Model",
            ExecutionRoleArn=ROLE,
            PrimaryContainer={"Image": "small", "Mode": "MultiModel", "ModelDataUrl": "s3://models/kept/"},
        ),
        "Config": resource(
            "AWS::SageMaker::EndpointConfig",
            ProductionVariants=[
                {
                    "VariantName": "AllTraffic",
                    "ModelName": {"Fn::GetAtt": "Model.ModelName"},
                    "InstanceType": "ml.m5.large",
                    "InitialInstanceCount": 1,
                }
            ],
        ),
        "Endpoint": resource(
            "AWS::SageMaker::Endpoint",
            EndpointName="kept",
            EndpointConfigName={"Fn::GetAtt": "Config.EndpointConfigName"},
        ),
    },
    "Outputs": {"Arn": {"Value": {"Ref": "Topic"}, "Export": {"Name": "kept"}}},
}


def _described(emulator: Durable, stack: str) -> tuple[Any, ...]:
    client = emulator.client("cloudformation")
    return (
        client.describe_stacks(StackName=stack)["Stacks"],
        client.describe_stack_events(StackName=stack)["StackEvents"],
        client.describe_stack_resources(StackName=stack)["StackResources"],
        client.list_exports()["Exports"],
        client.get_template(StackName=stack)["TemplateBody"],
    )


@pytest.mark.slow
def test_a_stack_can_be_updated_and_deleted_after_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with durable(state) as first:
        first.bucket("models")
        first.client("s3").put_object(Bucket="models", Key="kept/one.tar.gz", Body=archive("one"))
        client = first.client("cloudformation")
        stack = client.create_stack(StackName="kept", TemplateBody=json.dumps(TEMPLATE), Capabilities=CAPABILITIES)
        client.get_waiter("stack_create_complete").wait(StackName="kept")
        before = _described(first, stack["StackId"])
        first.kill()
    with durable(state) as second:
        assert _described(second, stack["StackId"]) == before
        client, runtime = second.client("cloudformation"), second.client("sagemaker-runtime")
        second.client("sagemaker").get_waiter("endpoint_in_service").wait(EndpointName="kept")
        answer = runtime.invoke_endpoint(EndpointName="kept", TargetModel="one.tar.gz", Body=b"?")["Body"].read()
        assert json.loads(answer)["name"] == "one"
        values = [{"ParameterKey": "Shown", "ParameterValue": "two"}]
        client.update_stack(StackName="kept", UsePreviousTemplate=True, Parameters=values)
        client.get_waiter("stack_update_complete").wait(StackName="kept")
        client.delete_stack(StackName="kept")
        client.get_waiter("stack_delete_complete").wait(StackName="kept")
        assert second.client("sagemaker").list_endpoints()["Endpoints"] == []
        assert second.client("sns").list_topics()["Topics"] == []


@pytest.mark.slow
def test_a_change_in_progress_has_failed(tmp_path: Path) -> None:
    state, held = tmp_path / "state", tmp_path / "held"
    held.touch()
    template = json.loads(json.dumps(TEMPLATE))
    template["Resources"]["Model"]["Properties"]["PrimaryContainer"]["Environment"] = {"SMALL_HOLD": str(held)}
    with durable(state) as first:
        first.bucket("models")
        client = first.client("cloudformation")
        client.create_stack(StackName="kept", TemplateBody=json.dumps(template))

        def begun() -> bool:
            events = client.describe_stack_events(StackName="kept")["StackEvents"]
            return any(item["PhysicalResourceId"].endswith("endpoint/kept") for item in events)

        wait_for(begun, "the endpoint's creation")
        first.kill()
    held.unlink()
    with durable(state) as second:
        client = second.client("cloudformation")
        (found,) = client.describe_stacks(StackName="kept")["Stacks"]
        assert found["StackStatus"] == "CREATE_FAILED"
        assert found["StackStatusReason"] == "The emulator ended in the middle of the change."
        client.delete_stack(StackName="kept")
        client.get_waiter("stack_delete_complete").wait(StackName="kept")
        assert second.client("sagemaker").list_endpoints()["Endpoints"] == []


@pytest.mark.parametrize("content", ["{", "[{}]", "[1]", '[{"region": "a"}]'])
def test_a_file_that_cannot_be_read(tmp_path: Path, content: str) -> None:
    (tmp_path / "stacks.json").write_text(content)
    with pytest.raises(StartError, match=r"cannot read the saved stacks in .*stacks\.json"):
        StackStore(tmp_path).load()
