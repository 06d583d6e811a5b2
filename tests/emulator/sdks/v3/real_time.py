"""A real-time endpoint, from its creation to its deletion, with a stream and an update."""

import boto3
from sagemaker.core.shapes import ContainerDefinition, DesiredWeightAndCapacity

from tests.emulator.sdks.v3.common import (
    IMAGE,
    INSTANCE,
    config,
    container,
    endpoint,
    error_of,
    invoke,
    model,
    update,
    upload,
    variant,
)


def main(name: str) -> None:
    chunks = ContainerDefinition(image=IMAGE, model_data_url=upload(f"{name}/two", "two", chunks=["a ", "stream"]))
    one, two = f"{name}-one", f"{name}-two"
    with (
        model(one, container(name, "one")),
        model(two, chunks),
        config(two, variant(two, **INSTANCE)),
        endpoint(name, variant(one, **INSTANCE)) as created,
    ):
        answer = invoke(created, b"a question", custom_attributes="from=the-sdk")
        assert (answer["name"], answer["body"]) == ("one", "a question"), answer
        assert answer["headers"]["x-amzn-sagemaker-custom-attributes"] == "from=the-sdk"

        update(created, two)
        # Endpoint.invoke_with_response_stream fails on every stream (core/utils/code_injection/codec.py, transform).
        response = boto3.client("sagemaker-runtime").invoke_endpoint_with_response_stream(EndpointName=name, Body=b"?")
        assert b"".join(event["PayloadPart"]["Bytes"] for event in response["Body"]) == b"a stream"

        wanted = DesiredWeightAndCapacity(variant_name=two, desired_instance_count=2)
        created.update_weights_and_capacities(desired_weights_and_capacities=[wanted])
        created.wait_for_status("InService", poll=1)
        assert created.production_variants[0].current_instance_count == 2
        error = error_of(lambda: invoke(created, target_variant="three"))
        assert error.response["Error"]["Code"] == "ValidationError", error
