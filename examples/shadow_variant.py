"""A shadow variant: a new model gets copies of the calls, and its metrics tell whether it may take over.

The production variant answers every call. The shadow variant gets a copy of half of them, and its responses are
dropped; CloudWatch has the metrics of both. Then the shadow variant is promoted. The environment alone decides where it
runs. Here, offline, with `polyhost emulator` in another shell:

    eval "$(polyhost emulator env)"
    python -m examples.shadow_variant

On AWS: credentials, a region, an image in ECR, `--image` and `--role ARN`.
"""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3

from examples.account import CAPACITY, Account, Resources, argument_parser

NAME = "digits-shadow"
PROMOTED = f"{NAME}-promoted"  # the second endpoint configuration
PRODUCTION, SHADOW = "production", "shadow"
CALLS = 40
METRICS_WAIT_S = 300.0  # AWS publishes metrics once a minute, the emulator once a second


def train(folder: Path) -> Any:
    """Write the contents of each variant's archive, and return digits that neither has seen, with their classes."""
    import joblib
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import train_test_split
    from sklearn.tree import DecisionTreeClassifier

    pixels, classes = load_digits(return_X_y=True)
    x, unseen, y, expected = train_test_split(pixels, classes, test_size=100, random_state=0)
    models = {PRODUCTION: DecisionTreeClassifier(random_state=0), SHADOW: RandomForestClassifier(50, random_state=0)}
    for name, model in models.items():
        (folder / name).mkdir()
        joblib.dump(model.fit(x, y), folder / name / "model.joblib")
    return unseen, expected


class Endpoint:
    """The endpoint, its two models and its two endpoint configurations: with the shadow variant, and after it."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._cloudwatch = boto3.client("cloudwatch")
        self._start = datetime.now(UTC) - timedelta(minutes=1)

    def create(self, resources: Resources, folder: Path) -> None:
        """Create the endpoint with its shadow variant, and return when it is in service."""
        for name in (PRODUCTION, SHADOW):
            container = {
                "Image": self._account.image,
                "ModelDataUrl": self._account.upload_archive(folder / name, NAME),
                "Environment": {"POLYHOST_FRONTEND": "native", "POLYHOST_ZYGOTES": "sklearn"},
            }
            resources.create_model(f"{NAME}-{name}", PrimaryContainer=container)
        # The shadow variant's weight in relation to the production variant's is the share of the calls it gets.
        both = {
            "ProductionVariants": [_variant(PRODUCTION, 1.0)],
            "ShadowProductionVariants": [_variant(SHADOW, 0.5)],
        }
        resources.create_endpoint_config(NAME, **both)
        resources.create_endpoint_config(PROMOTED, ProductionVariants=[_variant(SHADOW, 1.0)])
        resources.create_endpoint(NAME, NAME)

    def invoke(self, rows: Any) -> tuple[str, Any]:
        """Return the variant that answered, and its response."""
        response = self._account.runtime.invoke_endpoint(
            EndpointName=NAME, ContentType="application/json", Accept="application/json", Body=json.dumps(rows.tolist())
        )
        return response["InvokedProductionVariant"], json.loads(response["Body"].read())

    def wait_for_metrics(self) -> None:
        """Return when all calls are in CloudWatch."""
        deadline = time.monotonic() + METRICS_WAIT_S
        while self.metric(PRODUCTION, "Invocations") < CALLS or not self.metric(SHADOW, "Invocations"):
            if time.monotonic() > deadline:
                sys.exit(f"CloudWatch has not all metrics of {NAME} after {METRICS_WAIT_S:.0f} s")
            time.sleep(1)

    def metric(self, variant: str, name: str, statistic: str = "Sum") -> float:
        """Return the sum or the average of a variant's metric since the start, 0 without any."""
        points = self._cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=name,
            Dimensions=[{"Name": "EndpointName", "Value": NAME}, {"Name": "VariantName", "Value": variant}],
            StartTime=self._start,
            EndTime=datetime.now(UTC) + timedelta(minutes=1),
            Period=3600,
            Statistics=[statistic],
        )["Datapoints"]
        total = float(sum(point[statistic] for point in points))
        return total / len(points) if points and statistic == "Average" else total


def _variant(name: str, weight: float) -> dict[str, Any]:
    return {"VariantName": name, "ModelName": f"{NAME}-{name}", "InitialVariantWeight": weight} | CAPACITY


def main(arguments: Sequence[str] | None = None) -> int:
    options = argument_parser("shadow_variant", __doc__).parse_args(arguments)
    account = Account(options.image, options.role)
    endpoint = Endpoint(account)
    with tempfile.TemporaryDirectory(prefix="polyhost-example-") as folder, Resources(account) as resources:
        unseen, expected = train(Path(folder))
        endpoint.create(resources, Path(folder))
        answered = {endpoint.invoke(unseen[:1])[0] for _ in range(CALLS)}
        print(f"answered by: {', '.join(sorted(answered))}")
        endpoint.wait_for_metrics()
        for name in (PRODUCTION, SHADOW):
            calls, errors = (endpoint.metric(name, metric) for metric in ("Invocations", "InvocationModelErrors"))
            milliseconds = endpoint.metric(name, "ModelLatency", "Average") / 1000
            print(f"{name}: {calls:.0f} invocations, {errors:.0f} errors, {milliseconds:.1f} ms on average")
        resources.update_endpoint(NAME, PROMOTED)
        variant, classes = endpoint.invoke(unseen)
    right = sum(one == other for one, other in zip(classes, expected.tolist(), strict=True))
    print(f"promoted: {variant} recognises {right} of {len(expected)} digits")
    return 0


if __name__ == "__main__":
    sys.exit(main())
