"""The control plane through botocore: waiters, paginators, and every error by code, status and message."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from tests.emulator.conftest import REGION, ROLE, Local
from tests.support.waiting import wait_for

ARN = "arn:aws:sagemaker:ap-northeast-2:123456789012"
VARIANT = {"VariantName": "AllTraffic", "ModelName": "taken", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}


def test_waiters_get_no_response_before_a_change(local: Local) -> None:
    """A waiter pauses for 30 s after a response that tells it nothing new."""
    local.upload("waited", "a")
    local.model("waited")
    local.config("waited")
    started: list[float] = []
    wasted: list[float] = []  # seconds that requests took that ended before the change

    def before(**_: Any) -> None:
        started.append(time.monotonic())

    def after(parsed: dict[str, Any], **_: Any) -> None:
        if parsed.get("EndpointStatus") in ("Creating", "Deleting"):
            wasted.append(time.monotonic() - started[-1])

    client = local.emulator.client("sagemaker", REGION)
    client.meta.events.register("before-call.sagemaker.DescribeEndpoint", before)
    client.meta.events.register("after-call.sagemaker.DescribeEndpoint", after)
    client.create_endpoint(EndpointName="waited", EndpointConfigName="waited")
    client.get_waiter("endpoint_in_service").wait(EndpointName="waited")
    client.delete_endpoint(EndpointName="waited")
    client.get_waiter("endpoint_deleted").wait(EndpointName="waited")
    assert len(started) >= 2
    assert all(seconds > 15 for seconds in wasted)  # such a response comes after 20 s only


def create_model(client: Any, name: str, image: str = "small", **members: Any) -> None:
    container = {"Image": image, "ModelDataUrl": "s3://models/taken/", "Mode": "MultiModel"} | members
    client.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)


def create_config(client: Any, name: str, **members: Any) -> None:
    client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[VARIANT | members])


@pytest.fixture(scope="module")
def taken(local: Local) -> Iterator[Local]:
    """Host an endpoint, with a model and a configuration of the same name, `taken`."""
    local.upload("taken", "a")
    local.host("taken")
    yield local
    local.delete("taken")


@pytest.mark.parametrize(
    ("request_", "code", "message"),
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
            (request_, "ValidationException", f'Could not find endpoint "{ARN}:endpoint/none".')
            for request_ in (
                lambda client: client.describe_endpoint(EndpointName="none"),
                lambda client: client.delete_endpoint(EndpointName="none"),
                lambda client: client.update_endpoint(EndpointName="none", EndpointConfigName="taken"),
                lambda client: client.update_endpoint_weights_and_capacities(
                    EndpointName="none", DesiredWeightsAndCapacities=[{"VariantName": "v", "DesiredWeight": 1}]
                ),
            )
        ),
        *(
            (request_, "ValidationException", f'Could not find endpoint configuration "{ARN}:endpoint-config/none".')
            for request_ in (
                lambda client: client.describe_endpoint_config(EndpointConfigName="none"),
                lambda client: client.delete_endpoint_config(EndpointConfigName="none"),
                lambda client: client.create_endpoint(EndpointName="new", EndpointConfigName="none"),
                lambda client: client.update_endpoint(EndpointName="taken", EndpointConfigName="none"),
            )
        ),
        *(
            (request_, "ValidationException", f'Could not find model "{ARN}:model/none".')
            for request_ in (
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
def test_errors_have_awss_code_status_and_message(
    taken: Local, request_: Callable[[Any], Any], code: str, message: str
) -> None:
    with pytest.raises(ClientError) as caught:
        request_(taken.sagemaker)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["Error"]["Message"].startswith(message)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_endpoint_in_transition_rejects_changes(local: Local) -> None:
    local.upload("busy", "a")
    local.model("busy", Environment={"SMALL_PING": "503"})
    local.config("busy", ContainerStartupHealthCheckTimeoutInSeconds=60)
    local.sagemaker.create_endpoint(EndpointName="busy", EndpointConfigName="busy")
    changes: tuple[Callable[[], Any], ...] = (
        lambda: local.sagemaker.delete_endpoint(EndpointName="busy"),
        lambda: local.sagemaker.update_endpoint(EndpointName="busy", EndpointConfigName="busy"),
    )
    for change in changes:
        with pytest.raises(ClientError) as caught:
            change()
        assert caught.value.response["Error"] == {
            "Code": "ValidationException",
            "Message": f'Cannot update in-progress endpoint "{ARN}:endpoint/busy".',
        }
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(ClientError, match="Endpoint busy of account 123456789012 not found"):
        local.invoke("busy", "a")


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
def test_waiter_sees_a_failed_endpoint(taken: Local, name: str, members: dict[str, Any], reason: str) -> None:
    taken.model(name, **members)
    taken.config(name)
    taken.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    with pytest.raises(WaiterError, match='terminal failure state: For expression "EndpointStatus" we matched'):
        taken.sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name)
    assert taken.sagemaker.describe_endpoint(EndpointName=name)["FailureReason"].startswith(reason)
    assert json.loads(taken.invoke("taken", "a")["Body"].read())["name"] == "a"
    taken.sagemaker.delete_endpoint(EndpointName=name)
    taken.sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name)


def test_update_under_load_fails_no_invocation(local: Local) -> None:
    local.upload("updated", "a")
    local.host("updated")
    local.config("updated-2", count=2, model="updated")
    pids: set[int] = set()
    errors: list[str] = []
    invocations = [0] * 4
    stop = threading.Event()

    def client(number: int) -> None:
        while not stop.is_set():
            try:
                pids.add(json.loads(local.invoke("updated", "a")["Body"].read())["pid"])
            except ClientError as error:
                errors.append(str(error))
            invocations[number] += 1

    clients = [threading.Thread(target=client, args=(number,)) for number in range(len(invocations))]
    for thread in clients:
        thread.start()
    try:
        for config in ("updated-2", "updated"):
            local.sagemaker.update_endpoint(EndpointName="updated", EndpointConfigName=config)
            local.wait("updated")
            before = list(invocations)  # the new fleet serves from here on
            wait_for(partial(_all_advanced, invocations, before), "invocations")
    finally:
        stop.set()
        for thread in clients:
            thread.join()
    assert errors == []
    assert len(pids) >= 3
    local.sagemaker.delete_endpoint(EndpointName="updated")


def _all_advanced(counts: list[int], before: list[int]) -> bool:
    return all(now > then + 20 for now, then in zip(counts, before, strict=True))


def test_paginator_returns_every_list_page(local: Local) -> None:
    names = [f"listed-{number}" for number in range(5)]
    for name in names:
        local.model(name)
    pages = local.sagemaker.get_paginator("list_models").paginate(
        NameContains="listed-", SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 2}
    )
    assert [[model["ModelName"] for model in page["Models"]] for page in pages] == [names[:2], names[2:4], names[4:]]
    created = local.sagemaker.describe_model(ModelName="listed-0")["CreationTime"]
    listed = local.sagemaker.list_models(NameContains="listed-", CreationTimeAfter=created)["Models"]
    assert "listed-4" in [model["ModelName"] for model in listed]
