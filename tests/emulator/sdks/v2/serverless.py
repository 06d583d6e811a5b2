"""`ServerlessInferenceConfig`: an endpoint without instances, given more concurrency while it serves."""

from sagemaker.serverless import ServerlessInferenceConfig
from sagemaker.session import Session, production_variant

from tests.emulator.sdks.v2.common import error_of, model, wait, wait_until_gone


def main(name: str) -> None:
    session = Session()
    one = model(session, name, "one")
    small = ServerlessInferenceConfig(memory_size_in_mb=1024, max_concurrency=2)
    predictor = one.deploy(serverless_inference_config=small, endpoint_name=name, wait=False)
    wait(session, name)
    assert predictor.predict(b"a question")["body"] == "a question"
    assert _serverless(session, name) == {"MemorySizeInMB": 1024, "MaxConcurrency": 2}

    # Predictor.update_endpoint has no parameter for it.
    larger = ServerlessInferenceConfig(memory_size_in_mb=2048, max_concurrency=5, provisioned_concurrency=1)
    variant = production_variant(one.name, serverless_inference_config=larger._to_request_dict())
    client = session.sagemaker_client
    client.create_endpoint_config(EndpointConfigName=f"{name}-larger", ProductionVariants=[variant])
    session.update_endpoint(name, f"{name}-larger", wait=False)
    wait(session, name)
    assert _serverless(session, name) == {"MemorySizeInMB": 2048, "MaxConcurrency": 5, "ProvisionedConcurrency": 1}
    assert predictor.predict(b"?")["name"] == "one"
    predictor.delete_endpoint()
    wait_until_gone(session, name)
    session.delete_endpoint_config(name)  # the first one
    one.delete_model()

    odd = ServerlessInferenceConfig(memory_size_in_mb=1500)
    two = model(session, name, "two")
    error = error_of(lambda: two.deploy(serverless_inference_config=odd, endpoint_name=name, wait=False))
    assert error.response["Error"]["Code"] == "ValidationException", error
    two.delete_model()


def _serverless(session: Session, endpoint: str) -> object:
    (variant,) = session.sagemaker_client.describe_endpoint(EndpointName=endpoint)["ProductionVariants"]
    return variant["CurrentServerlessConfig"]
