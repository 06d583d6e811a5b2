"""A shadow variant: the SDK has no parameter for it, its session's client has."""

import time

from sagemaker.session import Session, production_variant

from tests.emulator.sdks.v2.common import INSTANCE, JsonPredictor, model, wait, wait_until_gone

CALLS = 5
DEADLINE_S = 60.0


def main(name: str) -> None:
    session = Session()
    models = [model(session, name, part) for part in ("production", "shadow")]
    for each in models:
        each.create(instance_type=INSTANCE)
    production, shadow = (production_variant(each.name, INSTANCE, 1, variant_name=each.name) for each in models)
    session.sagemaker_client.create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=[production], ShadowProductionVariants=[shadow]
    )
    session.create_endpoint(name, name, wait=False)
    wait(session, name)
    described = session.sagemaker_client.describe_endpoint(EndpointName=name)
    assert [variant["VariantName"] for variant in described["ShadowProductionVariants"]] == [f"{name}-shadow"]
    predictor = JsonPredictor(name, session)
    assert {predictor.predict(b"?")["name"] for _ in range(CALLS)} == {"production"}
    _wait_for_copies(session, name, f"{name}-shadow")
    predictor.delete_predictor()
    wait_until_gone(session, name)
    for each in models:
        each.delete_model()


def _wait_for_copies(session: Session, endpoint: str, variant: str) -> None:
    """Wait until the variant's metric counts a copy of each call."""
    cloudwatch = session.boto_session.client("cloudwatch")
    deadline = time.monotonic() + DEADLINE_S
    while True:
        points = cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName="Invocations",
            Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}],
            StartTime=time.time() - 3600,
            EndTime=time.time() + 60,
            Period=60,
            Statistics=["Sum"],
        )["Datapoints"]
        if (count := sum(point["Sum"] for point in points)) == CALLS:
            return
        assert time.monotonic() < deadline, f"{count} copies of {CALLS} calls"
        time.sleep(0.2)
