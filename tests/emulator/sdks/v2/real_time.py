"""`Model.deploy`: a real-time endpoint, from its creation to its deletion."""

from sagemaker.session import Session

from tests.emulator.sdks.v2.common import INSTANCE, error_of, model, upload, wait, wait_until_gone


def main(name: str) -> None:
    session = Session()
    first = model(session, name, "one")
    predictor = first.deploy(1, INSTANCE, endpoint_name=name, wait=False)
    wait(session, name)
    answer = predictor.predict(b"a question", custom_attributes="from=the-sdk", target_variant="AllTraffic")
    assert (answer["name"], answer["body"]) == ("one", "a question"), answer
    assert answer["headers"]["x-amzn-sagemaker-custom-attributes"] == "from=the-sdk"

    second = model(session, name, "two")
    second.create(instance_type=INSTANCE)
    predictor.update_endpoint(initial_instance_count=2, instance_type=INSTANCE, model_name=second.name, wait=False)
    wait(session, name)
    assert predictor.predict(b"?")["name"] == "two"
    (variant,) = session.sagemaker_client.describe_endpoint(EndpointName=name)["ProductionVariants"]
    assert variant["CurrentInstanceCount"] == 2

    assert b"".join(event["PayloadPart"]["Bytes"] for event in predictor.predict_stream(b"?", iterator=_events))

    _check_failure(session, name)
    predictor.delete_predictor()
    wait_until_gone(session, name)
    session.delete_endpoint_config(name)  # the first one; update_endpoint has made another
    for created in (first, second):
        created.delete_model()
    assert error_of(lambda: predictor.predict(b"?")).response["Error"]["Code"] == "ValidationError"


def _events(stream: object) -> object:
    return stream


def _check_failure(session: Session, name: str) -> None:
    """Check that the failure of a model is an error that has its status."""
    broken = model(session, name, "broken")
    broken.model_data = upload(session, f"{name}/broken", "broken", status=500)
    predictor = broken.deploy(1, INSTANCE, endpoint_name=f"{name}-broken", wait=False)
    wait(session, predictor.endpoint_name)
    error = error_of(lambda: predictor.predict(b"?"))
    assert error.response["Error"]["Code"] == "ModelError" and error.response["OriginalStatusCode"] == 500
    predictor.delete_predictor()
    wait_until_gone(session, predictor.endpoint_name)
    broken.delete_model()
