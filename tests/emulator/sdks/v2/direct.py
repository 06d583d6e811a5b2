"""A multi-container endpoint with direct invocation: `Session` takes the containers, the predictor the hostname."""

from sagemaker.session import Session, production_variant

from tests.emulator.sdks.v2.common import IMAGE, INSTANCE, ROLE, JsonPredictor, error_of, upload, wait, wait_until_gone


def main(name: str) -> None:
    session = Session()
    containers = [
        {"ContainerHostname": host, "Image": IMAGE, "ModelDataUrl": upload(session, f"{name}/{host}", host)}
        for host in ("sklearn", "torch")
    ]
    # Session.create_model has no parameter for it; the client beside it has.
    session.sagemaker_client.create_model(
        ModelName=name, ExecutionRoleArn=ROLE, Containers=containers, InferenceExecutionConfig={"Mode": "Direct"}
    )
    session.endpoint_from_production_variants(name, [production_variant(name, INSTANCE, 1)], wait=False)
    wait(session, name)
    predictor = JsonPredictor(name, session)
    for host in ("sklearn", "torch"):
        assert predictor.predict(b"?", initial_args={"TargetContainerHostname": host})["name"] == host
    assert error_of(lambda: predictor.predict(b"?")).response["Error"]["Code"] == "ValidationError"
    predictor.delete_predictor()
    wait_until_gone(session, name)
    session.delete_model(name)
