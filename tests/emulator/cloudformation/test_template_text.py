"""CloudFormation's templates are data: nothing in one may become a Python object, by whatever way it comes."""

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.emulator.conftest import REGION, Local

HOSTILE = {
    "call": "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{path}]]",
    "shell": "!!python/object/apply:os.system ['touch {path}']",
    "new": "!!python/object/new:os.system ['touch {path}']",
    "verbatim": "!<tag:yaml.org,2002:python/object/apply:os.system> ['touch {path}']",
    "name": "!!python/name:os.system",
    "module": "!!python/module:antigravity",
    "tuple": "!!python/tuple [a, b]",
    "unknown function": "!Foo bar",
    "set": "!!set {{a, b}}",
    "binary": "!!binary aGVsbG8=",
}
ORDINARY = """
AWSTemplateFormatVersion: 2010-09-09
Parameters:
  Name: {Type: String, Default: NAME}
  Stage: {Type: String, Default: prod}
Conditions:
  IsProd: !Equals [!Ref Stage, prod]
  IsTest: !Not [!Condition IsProd]
Mappings:
  Suffix: {prod: {value: live}}
Resources:
  Queue:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: !Sub "${Name}-${AWS::Region}"
  Topic:
    Type: AWS::SNS::Topic
    Properties:
      TopicName: !Join ["-", [!Ref Name, !FindInMap [Suffix, !Ref Stage, value]]]
  Unwanted:
    Type: AWS::SQS::Queue
    Condition: IsTest
Outputs:
  Arn: {Value: !GetAtt Queue.Arn}
  Chosen: {Value: !If [IsProd, !Select [1, !Split [",", "a,b"]], c]}
"""


@pytest.fixture(scope="module")
def cloudformation(local: Local) -> Any:
    return local.emulator.client("cloudformation", REGION)


def _template(value: str) -> str:
    return f"Resources:\n  Topic:\n    Type: AWS::SNS::Topic\n    Properties:\n      DisplayName: {value}\n"


def _in_s3(local: Local, template: str) -> str:
    key = f"templates/{uuid.uuid4()}"
    local.s3.put_object(Bucket="models", Key=key, Body=template.encode())
    return f"https://s3.{REGION}.amazonaws.com/models/{key}"


def _validation_error(call: Any, **members: Any) -> str:
    with pytest.raises(ClientError) as raised:
        call(**members)
    assert raised.value.response["Error"]["Code"] == "ValidationError"
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return str(raised.value.response["Error"]["Message"])


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_operation_runs_a_template(local: Local, cloudformation: Any, tmp_path: Path, kind: str) -> None:
    template = _template(HOSTILE[kind].format(path=tmp_path / "done"))
    name = f"t-{uuid.uuid4().hex}"
    for given in ({"TemplateBody": template}, {"TemplateURL": _in_s3(local, template)}):
        for call, names in (
            (cloudformation.create_stack, {"StackName": name}),
            (cloudformation.create_change_set, {"StackName": name, "ChangeSetName": name, "ChangeSetType": "CREATE"}),
            (cloudformation.create_stack_set, {"StackSetName": name}),
            (cloudformation.validate_template, {}),
            (cloudformation.get_template_summary, {}),
        ):
            message = _validation_error(call, **names, **given)
            assert re.match(r"Template format error: YAML not well-formed. \(line 5, column \d+\)", message)
    assert not (tmp_path / "done").exists()
    assert name not in {stack["StackName"] for stack in cloudformation.describe_stacks()["Stacks"]}
    assert name not in {stack["StackSetName"] for stack in cloudformation.list_stack_sets()["Summaries"]}


def test_an_update_runs_nothing(cloudformation: Any, tmp_path: Path) -> None:
    name = f"t-{uuid.uuid4().hex}"
    cloudformation.create_stack(StackName=name, TemplateBody=_template("plain"))
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name)
    hostile = _template(HOSTILE["shell"].format(path=tmp_path / "done"))
    _validation_error(cloudformation.update_stack, StackName=name, TemplateBody=hostile)
    assert not (tmp_path / "done").exists()


def test_an_ordinary_template_with_short_forms(local: Local, cloudformation: Any) -> None:
    name = f"t-{uuid.uuid4().hex}"
    template = ORDINARY.replace("NAME", name)
    cloudformation.create_stack(StackName=name, TemplateURL=_in_s3(local, template))
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name)
    (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    assert outputs["Chosen"] == "b"
    assert outputs["Arn"].endswith(f":{name}-{REGION}")
    resources = cloudformation.list_stack_resources(StackName=name)["StackResourceSummaries"]
    names = {resource["LogicalResourceId"] for resource in resources}
    assert {"Queue", "Topic"} <= names and "Unwanted" not in names
    assert any(
        topic["TopicArn"].endswith(f":{name}-live")
        for topic in local.emulator.client("sns", REGION).list_topics()["Topics"]
    )
    assert cloudformation.get_template(StackName=name)["TemplateBody"] == template


def test_a_template_in_json(cloudformation: Any) -> None:
    name = f"t-{uuid.uuid4().hex}"
    template = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Fn::Sub": name}}}}}
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(template))
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name)
    (resource,) = cloudformation.list_stack_resources(StackName=name)["StackResourceSummaries"]
    assert resource["PhysicalResourceId"].endswith(name)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("- a list", "Template format error: unsupported structure."),
        ("plain", "Template format error: unsupported structure."),
        ("Resources: {}", "Template format error: At least one Resources member must be defined."),
        ("Resources: [", "Template format error: YAML not well-formed. (line 1, column 13)"),
        ("[" * 50_000, "Template format error: YAML not well-formed."),
        ('{"a":' * 50_000, "Template format error: JSON not well-formed."),
        (
            "Resources: {a: &a [x], b: *a}",
            "Template error: YAML aliases are not allowed in CloudFormation templates",
        ),
        ("#" * 1_000_001, "Template may not exceed 1000000 bytes in size."),
    ],
)
def test_a_template_that_is_none(local: Local, cloudformation: Any, template: str, message: str) -> None:
    url = _in_s3(local, template)
    assert _validation_error(cloudformation.create_stack, StackName="none", TemplateURL=url) == message
