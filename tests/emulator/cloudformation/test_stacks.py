"""A stack's life: creation, updates, rollbacks and deletion, with real endpoints of small containers."""

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.emulator.cloudformation.harness import StackClient, resource
from tests.emulator.conftest import REGION
from tests.support.waiting import wait_for

QUEUE = "AWS::SQS::Queue"


def test_an_endpoint_is_brought_up_and_taken_down(stacks: StackClient) -> None:
    stacks.local.upload(stacks.prefix, "one", "two")
    outputs = {"Name": {"Value": {"Fn::GetAtt": "Endpoint.EndpointName"}, "Description": "whom to call"}}
    stack = stacks.create(stacks.endpoint(), Outputs=outputs)
    assert stacks.outputs(stack) == {"Name": stacks.prefix}
    for model in ("one", "two"):
        answer = json.loads(stacks.local.invoke(stacks.prefix, model)["Body"].read())
        assert answer["name"] == model
    events = stacks.events(stack)
    assert events[0] == (stacks.prefix, "CREATE_IN_PROGRESS") and events[-1] == (stacks.prefix, "CREATE_COMPLETE")
    complete = [name for name, status in events if status == "CREATE_COMPLETE"]
    assert complete == ["Model", "Config", "Endpoint", stacks.prefix]
    stacks.delete(stack)
    assert stacks.left() == []
    gone = [name for name, status in stacks.events(stack) if status == "DELETE_COMPLETE"]
    assert gone == ["Endpoint", "Config", "Model", stacks.prefix]
    assert stacks.error("describe_stacks", StackName=stacks.prefix) == f"Stack with id {stacks.prefix} does not exist"


def test_an_update_replaces_what_cannot_be_changed(stacks: StackClient) -> None:
    stacks.local.upload(stacks.prefix, "one", quotes=True)
    stack = stacks.create(stacks.endpoint({"SMALL_MARK": "old"}))
    before = stacks.resources(stack)
    stacks.update(stack, stacks.endpoint({"SMALL_MARK": "new"}))
    after = stacks.resources(stack)
    assert after["Endpoint"] == before["Endpoint"]
    assert after["Model"] != before["Model"] and after["Config"] != before["Config"]
    assert json.loads(stacks.local.invoke(stacks.prefix, "one")["Body"].read())["mark"] == "new"
    assert len(stacks.left()) == 3  # the replaced ones are deleted
    message = "No updates are to be performed."
    assert stacks.error("update_stack", StackName=stack, UsePreviousTemplate=True) == message


def test_an_update_that_fails_is_rolled_back(stacks: StackClient) -> None:
    stacks.local.upload(stacks.prefix, "one", quotes=True)
    stack = stacks.create(stacks.endpoint({"SMALL_MARK": "old"}))
    before = stacks.resources(stack)
    stacks.update(stack, stacks.endpoint({"SMALL_EXIT": "3"}), ok=False)
    found = stacks.describe(stack)
    assert found["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "did not pass the ping health check" in stacks.reasons(stack, "UPDATE_FAILED")["Endpoint"]
    reason = stacks.reasons(stack, "UPDATE_ROLLBACK_IN_PROGRESS")[stacks.prefix]
    assert reason == "The following resource(s) failed to update: [Endpoint]. "
    assert stacks.resources(stack) == before
    assert len(stacks.left()) == 3
    assert json.loads(stacks.local.invoke(stacks.prefix, "one")["Body"].read())["mark"] == "old"
    stacks.update(stack, stacks.endpoint({"SMALL_MARK": "new"}))
    assert json.loads(stacks.local.invoke(stacks.prefix, "one")["Body"].read())["mark"] == "new"


@pytest.mark.parametrize(
    ("on_failure", "status", "kept"),
    [("ROLLBACK", "ROLLBACK_COMPLETE", 0), ("DELETE", "DELETE_COMPLETE", 0), ("DO_NOTHING", "CREATE_FAILED", 3)],
)
def test_a_creation_that_fails(stacks: StackClient, on_failure: str, status: str, kept: int) -> None:
    stack = stacks.create(stacks.endpoint({"SMALL_EXIT": "3"}), ok=False, OnFailure=on_failure)
    assert stacks.describe(stack)["StackStatus"] == status
    assert "did not pass the ping health check" in stacks.reasons(stack, "CREATE_FAILED")["Endpoint"]
    assert len(stacks.left()) == kept


def test_a_deletion_cancels_the_creation(stacks: StackClient, tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.touch()
    request = {
        "StackName": stacks.prefix,
        "TemplateBody": json.dumps({"Resources": stacks.endpoint({"SMALL_HOLD": str(held)})}),
    }
    stack = stacks.cloudformation.create_stack(**request)["StackId"]
    stacks.made.append(stack)
    wait_for(lambda: ("Endpoint", "CREATE_IN_PROGRESS") in stacks.events(stack), "the endpoint's creation", 120)
    stacks.cloudformation.delete_stack(StackName=stack)
    held.unlink()
    stacks.wait("delete", stack)
    assert stacks.left() == []


def test_an_unsupported_type_fails_the_stack_by_name(stacks: StackClient) -> None:
    resources = {"Queue": resource(QUEUE), "Fleet": resource("AWS::GameLift::Fleet")}
    stack = stacks.create(resources, ok=False)
    assert stacks.describe(stack)["StackStatus"] == "ROLLBACK_COMPLETE"
    reason = "The emulator does not support the resource type AWS::GameLift::Fleet."
    assert stacks.reasons(stack, "CREATE_FAILED") == {"Fleet": reason}
    assert ("Queue", "CREATE_IN_PROGRESS") not in stacks.events(stack)


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"Colour": "red"}, "Encountered unsupported property Colour"),
        ({"Period": "often"}, "Value 'often' of Period must be of type integer"),
        ({}, "required key [ComparisonOperator] not found"),
    ],
)
def test_a_property_that_cannot_be_used(stacks: StackClient, properties: dict[str, Any], reason: str) -> None:
    others = {"ComparisonOperator": "GreaterThanThreshold", "EvaluationPeriods": 1} if properties else {}
    stack = stacks.create({"Alarm": resource("AWS::CloudWatch::Alarm", **others, **properties)}, ok=False)
    assert reason in stacks.reasons(stack, "CREATE_FAILED")["Alarm"]


def test_a_name_that_needs_a_replacement(stacks: StackClient) -> None:
    named = stacks.endpoint()
    named["Model"]["Properties"]["ModelName"] = stacks.prefix
    stack = stacks.create({"Model": named["Model"]})
    changed = json.loads(json.dumps(named["Model"]))
    changed["Properties"]["PrimaryContainer"]["Environment"] = {"A": "b"}
    stacks.update(stack, {"Model": changed}, ok=False)
    assert "cannot update a stack when a custom-named resource requires replacing" in str(
        stacks.reasons(stack, "UPDATE_FAILED")["Model"]
    )


def test_policies_that_keep_a_resource(stacks: StackClient) -> None:
    keeping = {
        "Queue": resource(QUEUE, QueueName=stacks.prefix, _DeletionPolicy="Retain"),
        "Topic": resource("AWS::SNS::Topic"),
    }
    stack = stacks.create(keeping)
    stacks.delete(stack)
    assert ("Queue", "DELETE_SKIPPED") in stacks.events(stack)
    sqs = stacks.local.emulator.client("sqs", REGION)
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=stacks.prefix)["QueueUrl"])


def test_a_deletion_that_fails(stacks: StackClient) -> None:
    stack = stacks.create({"Bucket": resource("AWS::S3::Bucket", BucketName=stacks.prefix), "Queue": resource(QUEUE)})
    s3 = stacks.local.s3
    s3.put_object(Bucket=stacks.prefix, Key="a", Body=b"a")
    stacks.delete(stack, ok=False)
    assert stacks.describe(stack)["StackStatusReason"] == "The following resource(s) failed to delete: [Bucket]. "
    assert "not empty" in stacks.reasons(stack, "DELETE_FAILED")["Bucket"]
    assert list(stacks.resources(stack)) == ["Bucket"]
    stacks.delete(stack, RetainResources=["Bucket"])
    s3.delete_object(Bucket=stacks.prefix, Key="a")
    s3.delete_bucket(Bucket=stacks.prefix)


def test_exports_of_one_stack_are_imported_by_another(stacks: StackClient) -> None:
    export = f"{stacks.prefix}-arn"
    outputs = {"Arn": {"Value": {"Fn::GetAtt": "Queue.Arn"}, "Export": {"Name": {"Fn::Sub": export}}}}
    exporting = stacks.create({"Queue": resource(QUEUE)}, "-a", Outputs=outputs)
    topic = resource("AWS::SNS::Topic", DisplayName={"Fn::ImportValue": export})
    importing = stacks.create({"Topic": topic}, "-b")
    exports = {item["Name"]: item["Value"] for item in stacks.cloudformation.list_exports()["Exports"]}
    assert exports[export] == stacks.outputs(exporting)["Arn"]
    assert stacks.cloudformation.list_imports(ExportName=export)["Imports"] == [f"{stacks.prefix}-b"]
    message = stacks.error("delete_stack", StackName=exporting)
    assert message == f"Export {export} cannot be deleted as it is in use by {stacks.prefix}-b"
    stacks.delete(importing)
    failing = stacks.create(
        {"Topic": resource("AWS::SNS::Topic", DisplayName={"Fn::ImportValue": "none"})}, "-c", ok=False
    )
    assert stacks.reasons(failing, "CREATE_FAILED")["Topic"] == "No export named none found"


def test_an_update_removes_adds_and_changes(stacks: StackClient) -> None:
    stack = stacks.create({"Queue": resource(QUEUE), "Old": resource("AWS::SNS::Topic")})
    before = stacks.resources(stack)
    stacks.update(stack, {"Queue": resource(QUEUE, VisibilityTimeout=7), "New": resource("AWS::SNS::Topic")})
    after = stacks.resources(stack)
    assert after.keys() == {"Queue", "New"} and after["Queue"] == before["Queue"]
    sqs, sns = (stacks.local.emulator.client(service, REGION) for service in ("sqs", "sns"))
    attributes = sqs.get_queue_attributes(QueueUrl=after["Queue"], AttributeNames=["VisibilityTimeout"])["Attributes"]
    assert attributes == {"VisibilityTimeout": "7"}
    with pytest.raises(ClientError):
        sns.get_topic_attributes(TopicArn=before["Old"])


def test_protection(stacks: StackClient) -> None:
    stack = stacks.create({"Queue": resource(QUEUE)}, EnableTerminationProtection=True)
    assert "TerminationProtection is enabled" in stacks.error("delete_stack", StackName=stack)
    stacks.cloudformation.update_termination_protection(StackName=stack, EnableTerminationProtection=False)


def test_names(stacks: StackClient) -> None:
    stack = stacks.create({"Queue": resource(QUEUE)})
    template = json.dumps({"Resources": {"Queue": resource(QUEUE)}})
    message = f"Stack [{stacks.prefix}] already exists"
    assert stacks.error("create_stack", StackName=stacks.prefix, TemplateBody=template) == message
    assert "failed to satisfy constraint" in stacks.error("create_stack", StackName="a_b", TemplateBody=template)
    every = {item["StackId"] for item in stacks.cloudformation.list_stacks()["StackSummaries"]}
    assert stack in every


def test_an_update_that_is_cancelled_is_rolled_back(stacks: StackClient, tmp_path: Path) -> None:
    stacks.local.upload(stacks.prefix, "one", quotes=True)
    stack = stacks.create(stacks.endpoint({"SMALL_MARK": "old"}))
    held = tmp_path / "held"
    held.touch()
    template = json.dumps({"Resources": stacks.endpoint({"SMALL_HOLD": str(held)})})
    stacks.cloudformation.update_stack(StackName=stack, TemplateBody=template)
    wait_for(lambda: ("Endpoint", "UPDATE_IN_PROGRESS") in stacks.events(stack), "the endpoint's update")
    stacks.cloudformation.cancel_update_stack(StackName=stack)
    held.unlink()
    stacks.wait("update", stack, ok=False)
    assert stacks.describe(stack)["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert stacks.reasons(stack, "UPDATE_FAILED")["Endpoint"] == "Resource operation was cancelled"
    assert json.loads(stacks.local.invoke(stacks.prefix, "one")["Body"].read())["mark"] == "old"
    message = stacks.error("cancel_update_stack", StackName=stack)
    assert message == "CancelUpdateStack cannot be called from current stack status UPDATE_ROLLBACK_COMPLETE"


def test_what_a_template_declares(stacks: StackClient) -> None:
    declared = {
        "Size": {"Type": "Number", "Default": 3, "Description": "how many"},
        "Key": {"Type": "String", "NoEcho": True},
    }
    role = resource("AWS::IAM::Role", RoleName="named", AssumeRolePolicyDocument={})
    template = json.dumps({"Description": "all", "Parameters": declared, "Resources": {"Role": role}})
    for operation in ("validate_template", "get_template_summary"):
        found = getattr(stacks.cloudformation, operation)(TemplateBody=template)
        assert found["Description"] == "all"
        assert found["Capabilities"] == ["CAPABILITY_NAMED_IAM"]
        assert "AWS::IAM::Role" in found["CapabilitiesReason"]
        size, key = found["Parameters"]
        assert (size["DefaultValue"], size["Description"], size["NoEcho"]) == ("3", "how many", False)
        assert (key["ParameterKey"], key["NoEcho"]) == ("Key", True) and "DefaultValue" not in key
