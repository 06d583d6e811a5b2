"""Change sets: what they foresee, and what becomes of them."""

import json
from typing import Any

from tests.emulator.cloudformation.harness import CAPABILITIES, StackClient, resource

QUEUE = "AWS::SQS::Queue"


def _change_set(stacks: StackClient, name: str, kind: str, resources: dict[str, Any]) -> str:
    return str(
        stacks.cloudformation.create_change_set(
            StackName=stacks.prefix,
            ChangeSetName=name,
            ChangeSetType=kind,
            TemplateBody=json.dumps({"Resources": resources}),
            Capabilities=CAPABILITIES,
        )["Id"]
    )


def test_creation_and_update(stacks: StackClient) -> None:
    client = stacks.cloudformation
    first = _change_set(stacks, "first", "CREATE", {"Queue": resource(QUEUE), "Topic": resource("AWS::SNS::Topic")})
    found = client.describe_change_set(ChangeSetName=first)
    assert (found["Status"], found["ExecutionStatus"]) == ("CREATE_COMPLETE", "AVAILABLE")
    assert {item["ResourceChange"]["Action"] for item in found["Changes"]} == {"Add"}
    stack = found["StackId"]
    stacks.made.append(stack)
    assert stacks.describe(stack)["StackStatus"] == "REVIEW_IN_PROGRESS"
    client.execute_change_set(ChangeSetName=first)
    stacks.wait("create", stack)
    changed = {"Queue": resource(QUEUE, QueueName=f"{stacks.prefix}-q"), "New": resource(QUEUE)}
    second = _change_set(stacks, "second", "UPDATE", changed)
    found = client.describe_change_set(ChangeSetName="second", StackName=stacks.prefix)
    changes = {item["ResourceChange"]["LogicalResourceId"]: item["ResourceChange"] for item in found["Changes"]}
    assert {name: change["Action"] for name, change in changes.items()} == {
        "Queue": "Modify",
        "New": "Add",
        "Topic": "Remove",
    }
    assert changes["Queue"]["Replacement"] == "True"
    client.execute_change_set(ChangeSetName=second)
    stacks.wait("update", stack)
    assert stacks.resources(stack).keys() == {"Queue", "New"}
    message = stacks.error("execute_change_set", ChangeSetName=second)
    assert "cannot be executed in its current execution status of [EXECUTE_COMPLETE]" in message


def test_without_changes(stacks: StackClient) -> None:
    stacks.create({"Queue": resource(QUEUE)})
    name = _change_set(stacks, "same", "UPDATE", {"Queue": resource(QUEUE)})
    found = stacks.cloudformation.describe_change_set(ChangeSetName=name)
    assert (found["Status"], found["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
    assert found["StatusReason"].startswith("The submitted information didn't contain changes.")
    (summary,) = stacks.cloudformation.list_change_sets(StackName=stacks.prefix)["Summaries"]
    assert summary["Status"] == "FAILED"
    stacks.cloudformation.delete_change_set(ChangeSetName=name)
    assert stacks.error("describe_change_set", ChangeSetName=name) == f"ChangeSet [{name}] does not exist"


def test_a_replacement_is_foreseen_in_what_refers_to_it(stacks: StackClient) -> None:
    stacks.local.upload(stacks.prefix, "one")
    stacks.create(stacks.endpoint({"SMALL_MARK": "old"}))
    name = _change_set(stacks, "new-model", "UPDATE", stacks.endpoint({"SMALL_MARK": "new"}))
    changes = stacks.cloudformation.describe_change_set(ChangeSetName=name)["Changes"]
    replaced = {item["ResourceChange"]["LogicalResourceId"]: item["ResourceChange"]["Replacement"] for item in changes}
    assert replaced == {"Model": "True", "Config": "True", "Endpoint": "False"}
