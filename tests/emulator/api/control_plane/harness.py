"""A control plane with real containers of a small make; every response is checked against botocore's shapes."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.parsers import create_parser

from polyhost.emulator.api.control_plane.dispatcher import ControlPlane
from polyhost.emulator.api.control_plane.endpoint_registry import EndpointRegistry
from polyhost.emulator.api.control_plane.store import ResourceStore
from polyhost.emulator.api.control_plane.transform_job_registry import TransformJobRegistry
from polyhost.emulator.async_inference.notifications import Notifier
from polyhost.emulator.aws_clients import S3Clients
from polyhost.emulator.errors import ValidationException
from polyhost.emulator.hosting.container_client import session
from polyhost.emulator.hosting.drivers.process import ProcessDriver
from polyhost.emulator.hosting.endpoint import Endpoint
from polyhost.emulator.hosting.faults import Faults
from polyhost.emulator.hosting.interfaces import InvocationRequest, Platform
from polyhost.emulator.object_storage import ObjectStorage
from polyhost.emulator.telemetry.recorder import Recorder
from polyhost.model_cache.downloads import ModelSource
from tests.emulator import small_container
from tests.emulator.archives import archive

REGION = "eu-west-1"
ARN = f"arn:aws:sagemaker:{REGION}:123456789012"
ROLE = "arn:aws:iam::123456789012:role/hosting"
_COMMAND = (sys.executable, small_container.__file__)
_SHAPES = botocore.session.get_session().get_service_model("sagemaker")


class ControlPlaneHarness:
    """A control plane, its platform, and what most tests do with them."""

    def __init__(
        self, control_plane: ControlPlane, registry: EndpointRegistry, platform: Platform, models: Path
    ) -> None:
        self.control_plane = control_plane
        self.registry = registry
        self.platform = platform
        self.models = models  # the folder with the archives a.tar.gz and slow.tar.gz

    async def call(self, operation: str, from_waiter: bool = False, region: str = REGION, **members: Any) -> Any:
        """Call an operation as botocore does, and parse the response as botocore does.

        Members that AWS would not send are an error.
        """
        body = await self.control_plane.call(region, operation, json.dumps(members).encode(), from_waiter)
        shape = _SHAPES.operation_model(operation).output_shape
        if shape is None:
            assert json.loads(body) == {}
            return {}
        _check_shape(shape, json.loads(body))
        parsed = create_parser("json").parse({"body": body, "headers": {}, "status_code": 200}, shape)
        return {name: value for name, value in parsed.items() if name != "ResponseMetadata"}

    async def rejection(self, operation: str, **members: Any) -> str:
        """Return the message with which an operation is rejected."""
        with pytest.raises(ValidationException) as caught:
            await self.call(operation, **members)
        assert caught.value.message is not None
        return caught.value.message

    async def create_model(
        self, name: str = "m", mode: str = "MultiModel", url: str | None = None, **environment: str
    ) -> Any:
        url = url or f"file://{self.models}/"
        container = {"Image": "image", "Mode": mode, "ModelDataUrl": url, "Environment": environment}
        return await self.call("CreateModel", ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)

    async def create_config(self, name: str = "c", *variants: dict[str, Any]) -> Any:
        variants = variants or (variant(),)
        return await self.call("CreateEndpointConfig", EndpointConfigName=name, ProductionVariants=[*variants])

    async def create_endpoint(self, name: str = "e", config: str = "c") -> Any:
        """Create an endpoint, and return its description once it is in service or has failed."""
        await self.call("CreateEndpoint", EndpointName=name, EndpointConfigName=config)
        return await self.until_settled(name)

    async def until_settled(self, name: str = "e") -> Any:
        """Return what a waiter sees in the end; each of its requests waits for a change, so that few are needed."""
        for _ in range(5):
            seen = await self.call("DescribeEndpoint", from_waiter=True, EndpointName=name)
            if seen["EndpointStatus"] in ("InService", "Failed"):
                return seen
        raise AssertionError(f"still {seen}")

    async def until_deleted(self, name: str = "e") -> None:
        while self.registry.find_exact(REGION, name) is not None:
            try:
                await self.call("DescribeEndpoint", from_waiter=True, EndpointName=name)
            except ValidationException:
                return

    async def invoke(self, model: str | None = "a.tar.gz", name: str = "e", target_variant: str | None = None) -> Any:
        """Return the small container's response."""
        chosen = self.endpoint(name).choose(target_variant)
        response = await chosen.fleet.invoke(InvocationRequest(b"{}", {"Content-Type": "application/json"}, model))
        assert response.status == 200, response
        return json.loads(response.body)

    def endpoint(self, name: str = "e") -> Endpoint:
        endpoint = self.registry.find_exact(REGION, name)
        assert endpoint is not None
        return endpoint

    async def close(self) -> None:
        """Shut down as the emulator does."""
        self.control_plane.close()
        await self.registry.close()


@asynccontextmanager
async def running_control_plane(folder: Path, state: Path | None = None) -> AsyncIterator[ControlPlaneHarness]:
    models, disk = folder / "models", folder / "disk"
    models.mkdir(exist_ok=True)
    disk.mkdir(exist_ok=True)
    (models / "a.tar.gz").write_bytes(archive("a"))
    (models / "slow.tar.gz").write_bytes(archive("slow", invoke_seconds=0.4))
    source = ModelSource(lambda region: pytest.fail(f"unexpected access to S3 of {region}"))
    async with session() as http:
        platform = Platform(ProcessDriver(_COMMAND), source, Recorder(), Faults(), http, disk)
        store = ResourceStore(state)
        registry = EndpointRegistry(platform, store)
        jobs = TransformJobRegistry(platform, ObjectStorage(S3Clients("http://127.0.0.1:1", None)), store)
        notifier = Notifier("http://127.0.0.1:1")  # has no SNS
        control_plane = ControlPlane(platform.driver, store, registry, jobs, notifier)
        harness = ControlPlaneHarness(control_plane, registry, platform, models)
        registry.restore()
        try:
            yield harness
        finally:
            await harness.close()
    assert list(disk.iterdir()) == [], "an instance left its disk behind"


def variant(name: str = "AllTraffic", model: str = "m", count: int = 1, **members: Any) -> dict[str, Any]:
    return {
        "VariantName": name,
        "ModelName": model,
        "InitialInstanceCount": count,
        "InstanceType": "ml.t2.medium",
        **members,
    }


def weights_and_counts(description: Any) -> dict[str, tuple[float, float, int, int]]:
    """Return current and desired weight, current and desired instance count of each variant."""
    return {
        seen["VariantName"]: (
            seen["CurrentWeight"],
            seen["DesiredWeight"],
            seen["CurrentInstanceCount"],
            seen["DesiredInstanceCount"],
        )
        for seen in description["ProductionVariants"]
    }


def _check_shape(shape: Any, value: Any) -> None:
    if shape.type_name == "structure":
        assert set(value) <= set(shape.members), (shape.name, value)
        assert set(shape.required_members) <= set(value), (shape.name, value)
        for name, item in value.items():
            _check_shape(shape.members[name], item)
    elif shape.type_name == "list":
        for item in value:
            _check_shape(shape.member, item)
    elif shape.type_name == "string" and shape.enum:
        assert value in shape.enum
