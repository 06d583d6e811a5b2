"""Asynchronous inference, with results and failures that are fetched from S3."""

import json

import boto3
from botocore.client import BaseClient
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.shapes import (
    AsyncInferenceClientConfig,
    AsyncInferenceConfig,
    AsyncInferenceOutputConfig,
    ContainerDefinition,
)

from tests.emulator.sdks.v3.common import (
    IMAGE,
    INSTANCE,
    config,
    container,
    endpoint,
    model,
    update,
    upload,
    variant,
)


def main(name: str) -> None:
    s3, bucket = boto3.client("s3"), Session().default_bucket()
    how = AsyncInferenceConfig(
        client_config=AsyncInferenceClientConfig(max_concurrent_invocations_per_instance=2),
        output_config=AsyncInferenceOutputConfig(
            s3_output_path=f"s3://{bucket}/{name}/output", s3_failure_path=f"s3://{bucket}/{name}/failures"
        ),
    )
    s3.put_object(Bucket=bucket, Key=f"{name}/input", Body=b"a question")
    place = f"s3://{bucket}/{name}/input"
    broken = ContainerDefinition(image=IMAGE, model_data_url=upload(f"{name}/broken", "broken", status=500))
    other = f"{name}-broken"
    with (
        model(name, container(name, "one")),
        model(other, broken),
        config(other, variant(other, **INSTANCE), async_inference_config=how),
        endpoint(name, variant(name, **INSTANCE), async_inference_config=how) as created,
    ):
        response = created.invoke_async(input_location=place, content_type="text/plain", inference_id="the-first")
        assert response.inference_id == "the-first"
        answer = json.loads(_fetch(s3, response.output_location))
        assert (answer["name"], answer["body"]) == ("one", "a question"), answer

        update(created, other)
        failed = created.invoke_async(input_location=place)
        assert json.loads(_fetch(s3, failed.failure_location))["name"] == "broken"


def _fetch(s3: BaseClient, location: str) -> bytes:
    """Return the object, once it is there."""
    bucket, _, key = location.removeprefix("s3://").partition("/")
    s3.get_waiter("object_exists").wait(Bucket=bucket, Key=key, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    content: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return content
