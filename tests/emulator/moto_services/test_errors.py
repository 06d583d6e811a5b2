"""What moto lacks or fails at is an error of AWS in the service's own protocol, and one record in the log."""

import logging
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from tests.emulator.conftest import REGION, Local
from tests.support.emulator import boto3_client

# One operation that moto lacks for each protocol, and for services that are unlike the others of their protocol.
LACKING: list[tuple[str, str, str, dict[str, Any]]] = [
    ("json", "ssm", "GetCalendarState", {"CalendarNames": ["a"]}),
    ("json with a prefix", "dynamodb", "DescribeKinesisStreamingDestination", {"TableName": "abc"}),
    ("query", "iam", "GenerateServiceLastAccessedDetails", {"Arn": "arn:aws:iam::123456789012:role/a"}),
    ("ec2", "ec2", "DescribeVerifiedAccessGroups", {}),
    ("rest-json", "lambda", "GetRuntimeManagementConfig", {"FunctionName": "f"}),
    ("rest-xml", "route53", "GetAccountLimit", {"Type": "MAX_HOSTED_ZONES_BY_OWNER"}),
    ("s3", "s3", "GetBucketMetadataConfiguration", {"Bucket": "models"}),
    (
        "s3, where moto would delete the bucket",
        "s3",
        "DeleteBucketMetricsConfiguration",
        {"Bucket": "models", "Id": "a"},
    ),
    ("a service that moto lacks", "kendra", "ListIndices", {}),
    (
        "a service that moto lacks, rest-json",
        "amplifybackend",
        "ListBackendJobs",
        {"AppId": "a", "BackendEnvironmentName": "b"},
    ),
]


def _error(client: Any, operation: str, members: dict[str, Any]) -> ClientError:
    with pytest.raises(ClientError) as raised:
        client._make_api_call(operation, members)
    return raised.value


@pytest.mark.parametrize(
    ("service", "operation", "members"), [row[1:] for row in LACKING], ids=[row[0] for row in LACKING]
)
def test_an_operation_that_moto_lacks(
    local: Local, caplog: pytest.LogCaptureFixture, service: str, operation: str, members: dict[str, Any]
) -> None:
    error = _error(local.emulator.client(service, REGION), operation, members)
    assert error.response["Error"]["Code"] == "NotImplemented"
    assert error.response["Error"]["Message"] == f"The emulator does not have the operation {operation} of {service}."
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert error.response["ResponseMetadata"]["RequestId"]
    (record,) = (record for record in caplog.records if record.name.startswith("polyhost.emulator.moto_services"))
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)
    assert record.getMessage().count("\n") == 0


def test_a_path_of_no_operation(local: Local) -> None:
    signed = {"Authorization": f"AWS4-HMAC-SHA256 Credential=a/20260101/{REGION}/lambda/aws4_request, Signature=b"}
    response = httpx.get(f"{local.emulator.url}/2015-03-31/nothing", headers=signed, trust_env=False)
    assert response.status_code == 501
    assert response.json()["message"] == "The emulator does not have the operation GET /2015-03-31/nothing of lambda."


def test_a_failure_of_moto(local: Local, caplog: pytest.LogCaptureFixture) -> None:
    # moto takes the optional name of an API for granted.
    template = '{"Resources": {"Api": {"Type": "AWS::ApiGateway::RestApi", "Properties": {}}}}'
    client = boto3_client(local.emulator.url, "cloudformation")
    client.create_stack_set(StackSetName="failing", TemplateBody=template)
    members = {"StackSetName": "failing", "Accounts": ["123456789012"], "Regions": [REGION]}
    error = _error(client, "CreateStackInstances", members)
    assert error.response["Error"] == {
        "Type": "Receiver",
        "Code": "InternalFailure",
        "Message": "the emulator failed: KeyError('Name')",
    }
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    (record,) = (record for record in caplog.records if record.levelno >= logging.WARNING)
    assert record.exc_info is not None
    assert record.getMessage() == "operation CreateStackInstances of cloudformation failed in moto"


def test_moto_s_own_errors_stay_as_they_are(local: Local, caplog: pytest.LogCaptureFixture) -> None:
    assert _error(local.s3, "GetObject", {"Bucket": "models", "Key": "none"}).response["Error"]["Code"] == "NoSuchKey"
    assert _error(local.s3, "HeadObject", {"Bucket": "models", "Key": "none"}).response["Error"]["Code"] == "404"
    iam = local.emulator.client("iam", REGION)
    assert _error(iam, "GetRole", {"RoleName": "none"}).response["Error"]["Code"] == "NoSuchEntity"
    assert caplog.records == []
