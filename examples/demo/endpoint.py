"""A multi-model endpoint through plain boto3: create, upload, invoke, delete. The same calls work on AWS."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

BUCKET = "polyhost-demo"
PREFIX = "models"
NAME = "demo"
ROLE = "arn:aws:iam::123456789012:role/demo"
INSTANCES = 2


class Endpoint:
    """A multi-model endpoint of SageMaker, and the bucket with its archives."""

    def __init__(self, client: Callable[[str], Any]) -> None:
        """`client` returns boto3's client for a service: boto3.client itself on AWS."""
        self.name = NAME
        self._s3 = client("s3")
        self._sagemaker = client("sagemaker")
        self._runtime = client("sagemaker-runtime")

    def create(self) -> None:
        """Create it and wait until it is in service; models may be uploaded before and after."""
        self._s3.create_bucket(Bucket=BUCKET)
        container = {
            "Image": "polyhost",
            "Mode": "MultiModel",
            "ModelDataUrl": f"s3://{BUCKET}/{PREFIX}/",
            # Imported at the container's start. By default a framework is imported with the first model that needs it.
            "Environment": {"POLYHOST_ZYGOTES": "mxnet,torch,sklearn"},
        }
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": NAME,
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": INSTANCES,
        }
        self._sagemaker.create_model(ModelName=NAME, ExecutionRoleArn=ROLE, PrimaryContainer=container)
        self._sagemaker.create_endpoint_config(EndpointConfigName=NAME, ProductionVariants=[variant])
        self._sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME)
        self._sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=NAME)

    def upload(self, archive: Path) -> None:
        """Add a model to the endpoint: its archive below the prefix is all that this takes."""
        self._s3.upload_file(str(archive), BUCKET, f"{PREFIX}/{archive.name}")

    def invoke(self, target_model: str, body: bytes, content_type: str) -> Any:
        """Return the model's response. `target_model` is the archive's path below the prefix."""
        response = self._runtime.invoke_endpoint(
            EndpointName=NAME,
            TargetModel=target_model,
            ContentType=content_type,
            Accept="application/json",
            Body=body,
        )
        return json.loads(response["Body"].read())

    def delete(self) -> None:
        """Delete the endpoint, its configuration and its model; the archives stay in the bucket."""
        self._sagemaker.delete_endpoint(EndpointName=NAME)
        self._sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=NAME)
        self._sagemaker.delete_endpoint_config(EndpointConfigName=NAME)
        self._sagemaker.delete_model(ModelName=NAME)
