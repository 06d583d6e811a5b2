"""Waiters are recognised by what the installed botocore sends."""

from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from polyhost.emulator.api.waiters import is_from_waiter

# As SageMaker's Python SDK v2 makes its client (sagemaker/session.py, user_agent.py).
SDK = Config(user_agent_extra="lib/AWS-SageMaker-Python-SDK#2.257.7")


@pytest.mark.parametrize(("config", "recognised"), [(None, [False, True]), (SDK, [True, True])])
def test_only_waiters_and_the_sdk_are_recognised(config: Config | None, recognised: list[bool]) -> None:
    agents: list[bytes] = []

    def respond(request: Any, **_: Any) -> AWSResponse:
        agents.append(request.headers["User-Agent"])
        return AWSResponse(request.url, 200, {}, _Body())

    client: Any = boto3.client(
        "sagemaker",
        "eu-west-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        endpoint_url="http://127.0.0.1",
        config=config,
    )
    client.meta.events.register("before-send.sagemaker.DescribeEndpoint", respond)
    client.describe_endpoint(EndpointName="e")
    client.get_waiter("endpoint_in_service").wait(EndpointName="e")
    assert [is_from_waiter({b"user-agent": agent}) for agent in agents] == recognised
    assert not is_from_waiter({})


class _Body:
    """The raw body of a response, as urllib3 has it."""

    def stream(self) -> list[bytes]:
        return [b'{"EndpointStatus": "InService"}']
