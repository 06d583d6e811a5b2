"""The control plane asked by botocore itself: its waiters and paginators, and every error by code, status and text."""

import json
import threading
import time

import pytest
from botocore.exceptions import ClientError, WaiterError

from tests.container_process import wait_for
from tests.emulator.conftest import ROLE

ARN = "arn:aws:sagemaker:ap-northeast-2:123456789012"
VARIANT = {"VariantName": "AllTraffic", "ModelName": "taken", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}


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


def create_model(client, name, image="small", **members):
    container = {"Image": image, "ModelDataUrl": "s3://models/taken/", "Mode": "MultiModel"} | members
    client.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)


def create_config(client, name, **members):
    client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[VARIANT | members])


@pytest.fixture(scope="module")
def taken(local):
    """A model, a configuration and an endpoint of this name."""
    local.upload("taken", "a")
    local.host("taken")
    yield local
    local.sagemaker.delete_endpoint(EndpointName="taken")
    local.wait("taken", "endpoint_deleted")


@pytest.mark.parametrize(
    ("ask", "code", "message"),
    [
        (
            lambda client: client.create_endpoint(EndpointName="Taken", EndpointConfigName="taken"),
            "ValidationException",
            f'Cannot create already existing endpoint "{ARN}:endpoint/taken".',
        ),
        (
            lambda client: create_config(client, "taken"),
            "ValidationException",
            f'Cannot create already existing endpoint configuration "{ARN}:endpoint-config/taken".',
        ),
        (
            lambda client: create_model(client, "taken"),
            "ValidationException",
            f'Cannot create already existing model "{ARN}:model/taken".',
        ),
        *(
            (ask, "ValidationException", f'Could not find endpoint "{ARN}:endpoint/none".')
            for ask in (
                lambda client: client.describe_endpoint(EndpointName="none"),
                lambda client: client.delete_endpoint(EndpointName="none"),
                lambda client: client.update_endpoint(EndpointName="none", EndpointConfigName="taken"),
                lambda client: client.update_endpoint_weights_and_capacities(
                    EndpointName="none", DesiredWeightsAndCapacities=[{"VariantName": "v", "DesiredWeight": 1}]
                ),
            )
        ),
        *(
            (ask, "ValidationException", f'Could not find endpoint configuration "{ARN}:endpoint-config/none".')
            for ask in (
                lambda client: client.describe_endpoint_config(EndpointConfigName="none"),
                lambda client: client.delete_endpoint_config(EndpointConfigName="none"),
                lambda client: client.create_endpoint(EndpointName="new", EndpointConfigName="none"),
                lambda client: client.update_endpoint(EndpointName="taken", EndpointConfigName="none"),
            )
        ),
        *(
            (ask, "ValidationException", f'Could not find model "{ARN}:model/none".')
            for ask in (
                lambda client: client.describe_model(ModelName="none"),
                lambda client: client.delete_model(ModelName="none"),
                lambda client: create_config(client, "new", ModelName="none"),
            )
        ),
        (
            lambda client: client.create_endpoint(EndpointName="a_b", EndpointConfigName="c"),
            "ValidationException",
            "1 validation error detected: Value 'a_b' at 'endpointName' failed to satisfy constraint: Member must"
            " satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
        ),
        (
            lambda client: create_config(client, "new", ModelName="a.b"),
            "ValidationException",
            "1 validation error detected: Value 'a.b' at 'productionVariants.1.member.modelName' failed to satisfy"
            " constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9]([\\-a-zA-Z0-9]*[a-zA-Z0-9])?",
        ),
        (
            lambda client: create_config(client, "n" * 64),
            "ValidationException",
            f"2 validation errors detected: Value '{'n' * 64}' at 'endpointConfigName' failed to satisfy constraint:"
            " Member must have length less than or equal to 63",
        ),
        (
            lambda client: client.list_training_jobs(),
            "UnknownOperationException",
            "The emulator does not support the operation ListTrainingJobs; it supports AddTags, ",
        ),
    ],
)
def test_errors(taken, ask, code, message):
    with pytest.raises(ClientError) as caught:
        ask(taken.sagemaker)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["Error"]["Message"].startswith(message)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_a_busy_endpoint(local):
    local.upload("busy", "a")
    local.model("busy", Environment={"SMALL_PING": "503"})
    local.config("busy", ContainerStartupHealthCheckTimeoutInSeconds=60)
    local.sagemaker.create_endpoint(EndpointName="busy", EndpointConfigName="busy")
    for ask in (
        lambda: local.sagemaker.delete_endpoint(EndpointName="busy"),
        lambda: local.sagemaker.update_endpoint(EndpointName="busy", EndpointConfigName="busy"),
    ):
        with pytest.raises(ClientError) as caught:
            ask()
        assert caught.value.response["Error"] == {
            "Code": "ValidationException",
            "Message": f'Cannot update in-progress endpoint "{ARN}:endpoint/busy".',
        }
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(ClientError, match="Endpoint busy of account 123456789012 not found"):
        local.ask("busy", "a")


@pytest.mark.parametrize(
    ("name", "members", "reason"),
    [
        (
            "unwell",
            {"Environment": {"SMALL_EXIT": "3"}},
            "The primary container for production variant AllTraffic did not pass the ping health check. Please check"
            " CloudWatch logs for this endpoint.",
        ),
        (
            "dataless",
            {"Mode": "SingleModel", "ModelDataUrl": "s3://models/none/model.tar.gz"},
            'Failed to download model data for container "container_1" from URL: "s3://models/none/model.tar.gz".'
            " Please ensure that there is an object located at the URL and that the role passed to CreateModel has"
            " permissions to download the object.",
        ),
    ],
)
def test_a_waiter_hears_of_a_failure_and_its_reason(taken, name, members, reason):
    """And another endpoint goes on serving."""
    taken.model(name, **members)
    taken.config(name)
    taken.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    with pytest.raises(WaiterError, match='terminal failure state: For expression "EndpointStatus" we matched'):
        taken.sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name)
    assert taken.sagemaker.describe_endpoint(EndpointName=name)["FailureReason"].startswith(reason)
    assert json.loads(taken.ask("taken", "a")["Body"].read())["name"] == "a"
    taken.sagemaker.delete_endpoint(EndpointName=name)
    taken.sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name)


def test_an_update_under_load_fails_no_call(local):
    local.upload("updated", "a")
    local.host("updated")
    local.config("updated-2", count=2, model="updated")
    pids, wrong, asked, stop = set(), [], [0] * 4, threading.Event()

    def client(number):
        while not stop.is_set():
            try:
                pids.add(json.loads(local.ask("updated", "a")["Body"].read())["pid"])
            except ClientError as error:
                wrong.append(str(error))
            asked[number] += 1

    clients = [threading.Thread(target=client, args=(number,)) for number in range(len(asked))]
    for thread in clients:
        thread.start()
    try:
        for config in ("updated-2", "updated"):
            before = list(asked)
            local.sagemaker.update_endpoint(EndpointName="updated", EndpointConfigName=config)
            local.wait("updated")
            wait_for(lambda then=before: all(now > was + 20 for now, was in zip(asked, then, strict=True)), "calls")
    finally:
        stop.set()
        for thread in clients:
            thread.join()
    assert wrong == []
    assert len(pids) >= 3
    local.sagemaker.delete_endpoint(EndpointName="updated")


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
