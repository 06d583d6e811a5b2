"""Many models behind one endpoint, and more of them while it serves."""

from sagemaker.core.helper.session_helper import Session
from sagemaker.core.shapes import ContainerDefinition

from tests.emulator.sdks.v3.common import IMAGE, INSTANCE, endpoint, error_of, invoke, model, upload, variant


def main(name: str) -> None:
    upload(f"{name}/models", "one")
    prefix = f"s3://{Session().default_bucket()}/{name}/models/"
    container = ContainerDefinition(image=IMAGE, mode="MultiModel", model_data_url=prefix)
    with model(name, container), endpoint(name, variant(name, **INSTANCE)) as created:
        assert invoke(created, target_model="one.tar.gz")["name"] == "one"
        error = error_of(lambda: invoke(created, target_model="two.tar.gz"))
        assert error.response["Error"]["Code"] == "ValidationError", error
        upload(f"{name}/models", "two")
        assert invoke(created, target_model="two.tar.gz")["name"] == "two"
