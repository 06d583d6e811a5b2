"""A multi-container endpoint with direct invocation."""

from sagemaker.core.shapes import InferenceExecutionConfig

from tests.emulator.sdks.v3.common import INSTANCE, container, endpoint, error_of, invoke, model, variant


def main(name: str) -> None:
    hosts = ("sklearn", "torch")
    direct = InferenceExecutionConfig(mode="Direct")
    with (
        model(name, *(container(name, host) for host in hosts), inference_execution_config=direct),
        endpoint(name, variant(name, **INSTANCE)) as created,
    ):
        for host in hosts:
            assert invoke(created, target_container_hostname=host)["name"] == host
        assert error_of(lambda: invoke(created)).response["Error"]["Code"] == "ValidationError"
