"""A serverless endpoint."""

from collections.abc import Iterator
from contextlib import contextmanager

import boto3
from sagemaker.core.resources import Endpoint

from tests.emulator.sdks.v3.common import container, invoke, model, update


def main(name: str) -> None:
    larger = f"{name}-larger"
    with model(name, container(name, "one")), _config(name, name, 2), _config(larger, name, 5):
        created = Endpoint.create(endpoint_name=name, endpoint_config_name=name)
        created.wait_for_status("InService", poll=1)
        assert invoke(created, b"a question")["body"] == "a question"
        assert created.production_variants[0].current_serverless_config.max_concurrency == 2
        update(created, larger)
        assert created.production_variants[0].current_serverless_config.max_concurrency == 5
        assert invoke(created)["name"] == "one"
        created.delete()
        created.wait_for_delete(poll=1)


@contextmanager
def _config(name: str, model_name: str, concurrency: int) -> Iterator[None]:
    """Create a configuration by boto3.

    ProductionVariantServerlessConfig of sagemaker-core 2.27.0 sends MemorySizeInMb, which botocore does not know.
    """
    sagemaker = boto3.client("sagemaker")
    serverless = {"MemorySizeInMB": 1024, "MaxConcurrency": concurrency}
    variant = {"VariantName": "AllTraffic", "ModelName": model_name, "ServerlessConfig": serverless}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    yield
    sagemaker.delete_endpoint_config(EndpointConfigName=name)
