"""Queues whose messages call a function, in stacks of SAM and of plain templates."""

import json
from typing import Any

import pytest

from tests.emulator.cloudformation.harness import StackClient, resource
from tests.emulator.conftest import REGION
from tests.emulator.functions.harness import Lambda, function_zip
from tests.support.waiting import wait_for

pytest.importorskip("awslambdaric")

SOURCE = """
    def handler(event, context):
        for record in event["Records"]:
            print("{} has taken", record["body"])
"""
EXPAND = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
QUEUE = {"Fn::GetAtt": "Queue.Arn"}


def _template(key: str, **event: Any) -> str:
    """Return a template of SAM with a queue, and a function that gets its messages by an alias."""
    function = resource(
        "AWS::Serverless::Function",
        CodeUri=f"s3://models/{key}",
        Handler="app.handler",
        Runtime="python3.11",
        Timeout=60,
        AutoPublishAlias="live",
        Events={"Messages": {"Type": "SQS", "Properties": {"Queue": QUEUE, **event}}},
    )
    resources = {"Function": function, "Queue": resource("AWS::SQS::Queue", VisibilityTimeout=90)}
    return json.dumps({"Transform": "AWS::Serverless-2016-10-31", "Resources": resources})


def test_messages_call_a_function_of_sam(stacks: StackClient) -> None:
    functions, client = Lambda(stacks.local.emulator), stacks.cloudformation
    sqs = stacks.local.emulator.client("sqs", REGION)
    for version in ("first", "second"):
        zipped = function_zip(app=SOURCE.replace("{}", version))
        stacks.local.s3.put_object(Bucket="models", Key=f"{stacks.prefix}/{version}.zip", Body=zipped)

    def send(body: str, taken_by: str) -> None:
        sqs.send_message(QueueUrl=ids["Queue"], MessageBody=body)
        line = f"{taken_by} has taken {body}"
        wait_for(lambda: any(line in logged for logged in functions.log_lines(ids["Function"])), f"the line {line!r}")

    template = _template(f"{stacks.prefix}/first.zip", BatchSize=2, FunctionResponseTypes=["ReportBatchItemFailures"])
    stack = client.create_stack(StackName=stacks.prefix, TemplateBody=template, Capabilities=EXPAND)["StackId"]
    stacks.made.append(stack)
    stacks.wait("create", stack)
    ids = stacks.resources(stack)
    mapping = ids["FunctionMessages"]
    found = functions.client.get_event_source_mapping(UUID=mapping)
    assert (found["BatchSize"], found["FunctionResponseTypes"]) == (2, ["ReportBatchItemFailures"])
    assert found["FunctionArn"].endswith(f":function:{ids['Function']}:live")
    send("one", "first")

    # The alias moves on, and the mapping with it.
    template = _template(f"{stacks.prefix}/second.zip", BatchSize=5)
    client.update_stack(StackName=stack, TemplateBody=template, Capabilities=EXPAND)
    stacks.wait("update", stack)
    assert stacks.resources(stack)["FunctionMessages"] == mapping
    found = functions.client.get_event_source_mapping(UUID=mapping)
    assert (found["BatchSize"], found["FunctionResponseTypes"]) == (5, [])
    send("two", "second")

    stacks.delete(stack)
    assert mapping not in [
        item["UUID"] for item in functions.client.list_event_source_mappings()["EventSourceMappings"]
    ]


def test_a_mapping_that_is_changed_replaced_and_gone_before_the_stack(stacks: StackClient) -> None:
    functions = Lambda(stacks.local.emulator)
    functions.create(stacks.prefix, "def handler(event, context):\n    pass\n")

    def resources(queue: str, **properties: Any) -> dict[str, Any]:
        source = {"Fn::GetAtt": f"{queue}.Arn"}
        return {
            "Queue": resource("AWS::SQS::Queue"),
            "Other": resource("AWS::SQS::Queue"),
            "Mapping": resource(
                "AWS::Lambda::EventSourceMapping", FunctionName=stacks.prefix, EventSourceArn=source, **properties
            ),
        }

    arn = {"Arn": {"Value": {"Fn::GetAtt": "Mapping.EventSourceMappingArn"}}}
    tags = [{"Key": "team", "Value": "x"}]
    stack = stacks.create(resources("Queue", Enabled="false", BatchSize="3", Tags=tags), Outputs=arn)
    first = stacks.resources(stack)["Mapping"]
    assert stacks.outputs(stack)["Arn"].endswith(f":event-source-mapping:{first}")
    found = functions.client.get_event_source_mapping(UUID=first)
    assert (found["State"], found["BatchSize"]) == ("Disabled", 3)
    assert functions.client.list_tags(Resource=found["EventSourceMappingArn"])["Tags"] == {"team": "x"}
    stacks.update(stack, resources("Queue"), Outputs=arn)
    found = functions.client.get_event_source_mapping(UUID=first)
    assert (found["State"], found["BatchSize"]) == ("Enabled", 10)
    assert functions.client.list_tags(Resource=found["EventSourceMappingArn"])["Tags"] == {}
    stacks.update(stack, resources("Other"), Outputs=arn)
    second = stacks.resources(stack)["Mapping"]
    listed = [item["UUID"] for item in functions.client.list_event_source_mappings()["EventSourceMappings"]]
    assert second in listed and first not in listed
    functions.client.delete_event_source_mapping(UUID=second)
    stacks.delete(stack)
    functions.client.delete_function(FunctionName=stacks.prefix)


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"EventSourceArn": QUEUE, "FunctionName": "missing"}, "Function not found: "),
        ({"EventSourceArn": QUEUE, "BatchSize": 20_000}, "BatchSize 20000 exceeds the max of 10000"),
        (
            {"EventSourceArn": f"arn:aws:sqs:{REGION}:123456789012:none"},
            "Invalid EventSourceArn",
        ),
        (
            {"EventSourceArn": f"arn:aws:kinesis:{REGION}:123456789012:stream/a"},
            "stream/a' is not emulated; it must be the ARN of a queue of SQS",
        ),
        ({}, "EventSourceArn '' is not emulated"),
        ({"EventSourceArn": "arn:aws"}, "EventSourceArn 'arn:aws' is not emulated"),
    ],
)
def test_a_mapping_that_cannot_be_made_fails_the_stack(
    stacks: StackClient, properties: dict[str, Any], message: str
) -> None:
    functions = Lambda(stacks.local.emulator)
    functions.create(stacks.prefix, "def handler(event, context):\n    pass\n")
    mapping = resource("AWS::Lambda::EventSourceMapping", **{"FunctionName": stacks.prefix, **properties})
    stack = stacks.create({"Queue": resource("AWS::SQS::Queue"), "Mapping": mapping}, ok=False)
    assert message in stacks.reasons(stack, "CREATE_FAILED")["Mapping"]
    assert stacks.describe(stack)["StackStatus"] == "ROLLBACK_COMPLETE"
    functions.client.delete_function(FunctionName=stacks.prefix)
