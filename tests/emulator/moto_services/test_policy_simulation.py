"""iam:SimulatePrincipalPolicy, with which the SageMaker SDK checks a role before it uses it."""

import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.moto_services.policy_simulation import Statement, simulate
from tests.emulator.conftest import REGION, Local


def _document(**statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*"} | statement]})


@pytest.fixture(scope="module")
def iam(local: Local) -> Any:
    return local.emulator.client("iam", REGION)


@pytest.fixture
def role(iam: Any) -> str:
    name = f"role-{uuid.uuid4().hex}"
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=_document(Action="sts:AssumeRole"))
    return name


def _decisions(iam: Any, arn: str, actions: list[str], **members: Any) -> list[tuple[str, str, str]]:
    response = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=actions, **members)
    assert response["IsTruncated"] is False
    return [
        (result["EvalActionName"], result["EvalResourceName"], result["EvalDecision"])
        for result in response["EvaluationResults"]
    ]


def test_a_role_without_policies_may_do_everything(iam: Any, role: str) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
    assert _decisions(iam, arn, ["sagemaker:CreateModel", "s3:GetObject"]) == [
        ("sagemaker:CreateModel", "*", "allowed"),
        ("s3:GetObject", "*", "allowed"),
    ]


def test_attached_and_inline_policies_are_evaluated(iam: Any, role: str) -> None:
    policy = iam.create_policy(PolicyName=f"p-{role}", PolicyDocument=_document(Action=["sagemaker:*"]))["Policy"]
    iam.attach_role_policy(RoleName=role, PolicyArn=policy["Arn"])
    denied = _document(Effect="Deny", Action="sagemaker:Delete*", Resource="arn:aws:sagemaker:*:*:endpoint/prod-?")
    iam.put_role_policy(RoleName=role, PolicyName="no-deletion", PolicyDocument=denied)
    endpoints = [f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/{name}" for name in ("prod-1", "test-1")]
    arn = f"arn:aws:iam::{ACCOUNT}:role/service-role/{role}"
    assert _decisions(iam, arn, ["sagemaker:deleteEndpoint", "s3:GetObject"], ResourceArns=endpoints) == [
        ("sagemaker:deleteEndpoint", endpoints[0], "explicitDeny"),
        ("sagemaker:deleteEndpoint", endpoints[1], "allowed"),
        ("s3:GetObject", endpoints[0], "implicitDeny"),
        ("s3:GetObject", endpoints[1], "implicitDeny"),
    ]


def test_a_user_s_groups_count(iam: Any) -> None:
    name = f"user-{uuid.uuid4().hex}"
    iam.create_user(UserName=name)
    iam.create_group(GroupName=name)
    iam.add_user_to_group(UserName=name, GroupName=name)
    iam.put_group_policy(GroupName=name, PolicyName="s3", PolicyDocument=_document(Action="s3:*"))
    arn = f"arn:aws:iam::{ACCOUNT}:user/{name}"
    assert [row[2] for row in _decisions(iam, arn, ["s3:GetObject", "sns:Publish"])] == ["allowed", "implicitDeny"]
    more = _document(Action="sns:*")
    assert [row[2] for row in _decisions(iam, arn, ["sns:Publish"], PolicyInputList=[more])] == ["allowed"]


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"PolicySourceArn": f"arn:aws:iam::{ACCOUNT}:role/none"}, "NoSuchEntity"),
        ({"PolicySourceArn": f"arn:aws:iam::{ACCOUNT}:policy/none"}, "InvalidInput"),
    ],
)
def test_an_unknown_principal(iam: Any, members: dict[str, str], code: str) -> None:
    with pytest.raises(ClientError) as raised:
        iam.simulate_principal_policy(**members, ActionNames=["s3:GetObject"])
    assert raised.value.response["Error"]["Code"] == code


@pytest.mark.parametrize(
    ("statement", "decision"),
    [
        ({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}, "allowed"),
        ({"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}, "implicitDeny"),
        ({"Effect": "Deny", "Action": "*", "NotResource": "arn:other"}, "explicitDeny"),
        ({"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"Bool": {"a": "b"}}}, "allowed"),
        ({"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"Bool": {"a": "b"}}}, "implicitDeny"),
        ({"Effect": "Allow", "Action": "s3:[G]etObject", "Resource": "*"}, "implicitDeny"),
    ],
)
def test_statements(statement: dict[str, Any], decision: str) -> None:
    result = simulate([Statement("p", statement)], "s3:GetObject", "arn:aws:s3:::bucket/key")
    assert result["EvalDecision"] == decision
