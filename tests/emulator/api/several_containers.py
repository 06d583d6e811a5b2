"""Endpoints of several small containers; each has its archive under its own name."""

from collections.abc import Callable
from typing import Any

from tests.emulator.archives import archive
from tests.emulator.conftest import ROLE, Local
from tests.support.waiting import wait_for


def container(local: Local, endpoint: str, name: str, image: str = "small", **settings: Any) -> dict[str, Any]:
    """Upload a model with these settings, and return the container that serves it."""
    key = f"{endpoint}/{name}/model.tar.gz"
    local.s3.put_object(Bucket="models", Key=key, Body=archive(name, quotes=True, **settings))
    return {"Image": image, "ContainerHostname": name, "ModelDataUrl": f"s3://models/{key}"}


def multi_model_container(local: Local, endpoint: str, name: str, *models: str) -> dict[str, Any]:
    """Upload models, and return the multi-model container that serves them."""
    local.upload(f"{endpoint}/{name}", *models, quotes=True)
    url = f"s3://models/{endpoint}/{name}/"
    return {"Image": "small", "ContainerHostname": name, "Mode": "MultiModel", "ModelDataUrl": url}


def host(local: Local, name: str, *containers: dict[str, Any], mode: str | None = None, count: int = 1) -> None:
    """Create an endpoint of these containers, and wait until it is in service."""
    how = {"InferenceExecutionConfig": {"Mode": mode}} if mode else {}
    local.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, Containers=[*containers], **how)
    local.config(name, count)
    local.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    local.wait(name)


def delete(local: Local, *names: str) -> None:
    for name in names:
        local.sagemaker.delete_endpoint(EndpointName=name)
    for name in names:
        local.wait(name, "endpoint_deleted")
        local.sagemaker.delete_endpoint_config(EndpointConfigName=name)
        local.sagemaker.delete_model(ModelName=name)


def wait_until(condition: Callable[[], Any]) -> None:
    wait_for(condition, "what the emulator does in the background", 60.0)
