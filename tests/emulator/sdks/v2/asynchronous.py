"""`AsyncPredictor`: asynchronous inference, with results and failures that are fetched from S3."""

from sagemaker.async_inference import AsyncInferenceConfig, WaiterConfig
from sagemaker.exceptions import AsyncInferenceModelError
from sagemaker.session import Session

from tests.emulator.sdks.v2.common import INSTANCE, model, upload, wait, wait_until_gone

SOON = WaiterConfig(max_attempts=60, delay=1)  # S3's waiter, whose own delay is 15 s


def main(name: str) -> None:
    session = Session()
    place = f"s3://{session.default_bucket()}/{name}"
    config = AsyncInferenceConfig(
        output_path=f"{place}/output", failure_path=f"{place}/failures", max_concurrent_invocations_per_instance=2
    )
    created = model(session, name, "one")
    predictor = created.deploy(1, INSTANCE, endpoint_name=name, async_inference_config=config, wait=False)
    wait(session, name)
    responses = [predictor.predict_async(f"question {number}".encode()) for number in range(3)]
    for number, response in enumerate(responses):
        assert response.output_path.startswith(f"{place}/output/"), response.output_path
        assert response.get_result(SOON)["body"] == f"question {number}"
    assert predictor.predict(b"one more", waiter_config=SOON)["body"] == "one more"
    predictor.delete_endpoint()
    wait_until_gone(session, name)
    created.delete_model()
    _check_failure(session, name)


def _check_failure(session: Session, name: str) -> None:
    """Check that a failure is raised from what lies in the failure path, here the SDK's default one."""
    broken = model(session, name, "broken")
    broken.model_data = upload(session, f"{name}/broken", "broken", status=500)
    config = AsyncInferenceConfig()
    predictor = broken.deploy(1, INSTANCE, endpoint_name=name, async_inference_config=config, wait=False)
    wait(session, name)
    response = predictor.predict_async(b"?")
    try:
        result = response.get_result(SOON)
    except AsyncInferenceModelError as error:
        assert "broken" in str(error), error  # what the container answered
    else:
        raise AssertionError(f"there was no error, but {result}")
    predictor.delete_endpoint()
    wait_until_gone(session, name)
    broken.delete_model()
