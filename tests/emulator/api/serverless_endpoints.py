"""Serverless endpoints of small containers."""

from typing import Any

from tests.emulator.archives import archive
from tests.emulator.conftest import Local


def host_serverless(
    local: Local,
    name: str,
    settings: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
    **capacity: int,
) -> None:
    """Create an endpoint of 1,024 MB, of one call at a time unless `capacity` says so, and wait until it is in service.

    `settings` are the model's.
    """
    local.s3.put_object(Bucket="models", Key=f"{name}/model.tar.gz", Body=archive("one", **(settings or {})))
    local.model(name, multi_model=False, Environment=environment or {})
    config = {"MemorySizeInMB": 1024, "MaxConcurrency": 1} | capacity
    local.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[{"VariantName": "AllTraffic", "ModelName": name, "ServerlessConfig": config}],
    )
    local.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    local.wait(name)
