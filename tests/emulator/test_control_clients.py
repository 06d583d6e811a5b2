"""The control plane asked by botocore itself."""

import time

import pytest
from botocore.exceptions import ClientError


def test_waiters_with_their_own_pauses_are_quick(local):
    """Two pauses of theirs would be a minute."""
    start = time.monotonic()
    local.upload("waited", "a")
    local.model("waited")
    local.config("waited")
    local.sagemaker.create_endpoint(EndpointName="waited", EndpointConfigName="waited")
    local.sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="waited")
    local.sagemaker.delete_endpoint(EndpointName="waited")
    local.sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="waited")
    assert time.monotonic() - start < 25


@pytest.mark.parametrize(
    ("ask", "code", "message"),
    [
        (
            lambda client: client.describe_endpoint(EndpointName="none"),
            "ValidationException",
            'Could not find endpoint "arn:aws:sagemaker:ap-northeast-2:123456789012:endpoint/none".',
        ),
        (
            lambda client: client.create_endpoint(EndpointName="a_b", EndpointConfigName="c"),
            "ValidationException",
            "1 validation error detected: Value 'a_b' at 'endpointName' failed to satisfy constraint: Member must"
            " satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
        ),
        (
            lambda client: client.list_training_jobs(),
            "UnknownOperationException",
            "The emulator does not have the operation ListTrainingJobs; it has AddTags, ",
        ),
    ],
)
def test_errors(local, ask, code, message):
    with pytest.raises(ClientError) as caught:
        ask(local.sagemaker)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["Error"]["Message"].startswith(message)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_paginators(local):
    names = [f"page-{number}" for number in range(5)]
    for name in names:
        local.model(name)
    pages = local.sagemaker.get_paginator("list_models").paginate(
        NameContains="page-", SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 2}
    )
    assert [[model["ModelName"] for model in page["Models"]] for page in pages] == [names[:2], names[2:4], names[4:]]
    created = local.sagemaker.describe_model(ModelName="page-0")["CreationTime"]
    listed = local.sagemaker.list_models(NameContains="page-", CreationTimeAfter=created)["Models"]
    assert "page-4" in [model["ModelName"] for model in listed]
