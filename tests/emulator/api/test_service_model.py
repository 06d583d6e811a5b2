"""Requests are checked as AWS checks them: a message names every violation and its path."""

import json
from typing import Any

import pytest

from polyhost.emulator.api.service_model import ServiceModel
from polyhost.emulator.errors import UnknownOperation, ValidationException

SERVICE = ServiceModel("sagemaker")
NAME = "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"


def rejection(operation: str, **members: Any) -> str:
    """Return the message with which a request is rejected."""
    with pytest.raises(ValidationException) as caught:
        SERVICE.parse(operation, json.dumps(members).encode())
    assert caught.value.message is not None
    return caught.value.message


def test_valid_request_is_returned_unchanged() -> None:
    members = {"EndpointName": "e", "EndpointConfigName": "c", "Tags": [{"Key": "a", "Value": "b"}]}
    assert SERVICE.parse("CreateEndpoint", json.dumps(members).encode()) == members


def test_missing_body_is_an_empty_request() -> None:
    assert SERVICE.parse("ListModels", b"") == {}


def test_message_of_a_name_that_does_not_match() -> None:
    assert rejection("CreateEndpoint", EndpointName="a_b", EndpointConfigName="c") == (
        "1 validation error detected: Value 'a_b' at 'endpointName' failed to satisfy constraint:"
        f" Member must satisfy regular expression pattern: {NAME}"
    )


def test_message_has_every_violation() -> None:
    assert rejection("CreateEndpoint", EndpointName="a" * 64) == (
        f"3 validation errors detected: Value '{'a' * 64}' at 'endpointName' failed to satisfy constraint:"
        f" Member must have length less than or equal to 63; Value '{'a' * 64}' at 'endpointName' failed to satisfy"
        f" constraint: Member must satisfy regular expression pattern: {NAME};"
        " Value null at 'endpointConfigName' failed to satisfy constraint: Member must not be null"
    )


def test_message_has_the_path_of_a_member_in_a_list() -> None:
    variants = [{"VariantName": "v", "ModelName": "-", "InitialInstanceCount": 0, "InstanceType": "ml.nothing"}]
    message = rejection("CreateEndpointConfig", EndpointConfigName="c", ProductionVariants=variants)
    assert message.startswith("3 validation errors detected: ")
    assert "Value '-' at 'productionVariants.1.member.modelName' failed to satisfy constraint: Member must" in message
    assert "at 'productionVariants.1.member.initialInstanceCount' failed to satisfy constraint:" in message
    assert "Member must have value greater than or equal to 1" in message
    assert "Member must satisfy enum value set: [ml.t2.medium, ml.t2.large" in message


@pytest.mark.parametrize(
    ("members", "constraint"),
    [
        ({"MaxResults": 101}, "Member must have value less than or equal to 100"),
        ({"MaxResults": "3"}, "Member must be a number"),
        ({"MaxResults": True}, "Member must be a number"),
        ({"CreationTimeAfter": "yesterday"}, "Member must be a number"),
        ({"SortBy": "Size"}, "Member must satisfy enum value set: [Name, CreationTime]"),
        ({"NameContains": 3}, "Member must be a string"),
    ],
)
def test_constraints_are_checked(members: dict[str, Any], constraint: str) -> None:
    assert rejection("ListModels", **members).endswith(constraint)


@pytest.mark.parametrize("body", [b"[]", b"{", b"\xff", b"[" * 100_000, b'"a"'])
def test_body_that_is_not_an_object_is_rejected(body: bytes) -> None:
    with pytest.raises(ValidationException, match="not a JSON object"):
        SERVICE.parse("ListModels", body)


@pytest.mark.parametrize(
    ("members", "constraint"),
    [
        ({"ModelName": "m", "PrimaryContainer": "image"}, "Member must be a structure"),
        ({"ModelName": "m", "Containers": {}}, "Member must be a list"),
        ({"ModelName": "m", "PrimaryContainer": {"Environment": []}}, "Member must be a map"),
        ({"ModelName": "m", "EnableNetworkIsolation": "no"}, "Member must be a boolean"),
    ],
)
def test_types_are_checked(members: dict[str, Any], constraint: str) -> None:
    assert rejection("CreateModel", **members).endswith(constraint)


def test_file_url_is_accepted_for_model_data() -> None:
    good = {"ModelName": "m", "PrimaryContainer": {"Image": "i", "ModelDataUrl": "file:///models/"}}
    assert SERVICE.parse("CreateModel", json.dumps(good).encode()) == good
    bad = {"Image": "i", "ModelDataUrl": "ftp://models/"}
    assert "Value 'ftp://models/' at 'primaryContainer.modelDataUrl' failed to satisfy constraint" in rejection(
        "CreateModel", ModelName="m", PrimaryContainer=bad
    )


def test_unsupported_java_pattern_rejects_nothing() -> None:
    members = {
        "ResourceArn": "arn:aws:sagemaker:us-east-1:123456789012:model/m",
        "Tags": [{"Key": "Zoë", "Value": "é"}],
    }
    assert SERVICE.parse("AddTags", json.dumps(members).encode()) == members


def test_unknown_operation_is_rejected() -> None:
    with pytest.raises(UnknownOperation, match="MakeCoffee"):
        SERVICE.parse("MakeCoffee", b"{}")


def test_response_has_only_the_members_of_its_shape() -> None:
    members = {"ModelName": "m", "CreationTime": 1.5, "ModelArn": "a", "VpcConfig": None, "Tags": [], "Other": 1}
    expected = {"ModelName": "m", "CreationTime": 1.5, "ModelArn": "a"}
    assert json.loads(SERVICE.encode("DescribeModel", members)) == expected
    assert SERVICE.encode("DeleteModel", {}) == b"{}"
