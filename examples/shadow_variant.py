"""A shadow variant: a new model gets copies of the calls, and its metrics tell whether it may take over.

The production variant answers every call. The shadow variant gets a copy of half of them, and its responses are
dropped; CloudWatch has the metrics of both. Then the shadow variant is promoted. The environment alone decides where it
runs. Here, offline, with `polyhost emulator` in another shell:

    eval "$(polyhost emulator env)"
    python -m examples.shadow_variant

On AWS: credentials, a region, an image in ECR, `--image` and `--role ARN`.
"""

import argparse
import json
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError, WaiterError

NAME = "digits-shadow"
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

    def __init__(self, image: str | None, role: str | None) -> None:
        self._sagemaker = boto3.client("sagemaker")
        self._runtime = boto3.client("sagemaker-runtime")
        self._cloudwatch = boto3.client("cloudwatch")
        self._s3 = boto3.client("s3")
        account, self._region = boto3.client("sts").get_caller_identity()["Account"], boto3.Session().region_name
        self._bucket = f"sagemaker-{self._region}-{account}"
        self._image = image or f"{account}.dkr.ecr.{self._region}.amazonaws.com/demo-sagemaker-multimodel:latest"
        self._role = role or f"arn:aws:iam::{account}:role/demo-sagemaker-multimodel"
        self._start = datetime.now(UTC) - timedelta(minutes=1)

    def upload(self, folder: Path) -> str:
        """Pack the contents of an archive, upload it, and return its address."""
        archive = folder.with_suffix(".tar.gz")
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(folder, arcname=".")
        try:
            self._s3.head_bucket(Bucket=self._bucket)
        except ClientError:
            # us-east-1 is the one region that must not be named (S3's API reference, CreateBucket).
            elsewhere = {"CreateBucketConfiguration": {"LocationConstraint": self._region}}
            self._s3.create_bucket(Bucket=self._bucket, **({} if self._region == "us-east-1" else elsewhere))
        self._s3.upload_file(str(archive), self._bucket, f"{NAME}/{archive.name}")
        return f"s3://{self._bucket}/{NAME}/{archive.name}"

    @contextmanager
    def running(self, folder: Path) -> Iterator[None]:
        """Create the endpoint with its shadow variant, wait until it is in service; delete it when the block ends."""
        with ExitStack() as stack:
            for name in (PRODUCTION, SHADOW):
                container = {
                    "Image": self._image,
                    "ModelDataUrl": self.upload(folder / name),
                    "Environment": {"POLYHOST_FRONTEND": "native", "POLYHOST_ZYGOTES": "sklearn"},
                }
                model = f"{NAME}-{name}"
                self._sagemaker.create_model(ModelName=model, ExecutionRoleArn=self._role, PrimaryContainer=container)
                stack.callback(self._sagemaker.delete_model, ModelName=model)
            # The shadow variant's weight in relation to the production variant's is the share of the calls it gets.
            both = {
                "ProductionVariants": [_variant(PRODUCTION, 1.0)],
                "ShadowProductionVariants": [_variant(SHADOW, 0.5)],
            }
            promoted = {"ProductionVariants": [_variant(SHADOW, 1.0)]}
            for config, variants in ((NAME, both), (f"{NAME}-promoted", promoted)):
                self._sagemaker.create_endpoint_config(EndpointConfigName=config, **variants)
                stack.callback(self._sagemaker.delete_endpoint_config, EndpointConfigName=config)
            self._sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME)
            stack.callback(self._delete_endpoint)
            self._wait_until_in_service()
            yield

    def promote(self) -> None:
        """Make the shadow variant the production variant."""
        self._sagemaker.update_endpoint(EndpointName=NAME, EndpointConfigName=f"{NAME}-promoted")
        self._wait_until_in_service()

    def _wait_until_in_service(self) -> None:
        try:
            self._sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=NAME)
        except WaiterError:
            sys.exit(self._sagemaker.describe_endpoint(EndpointName=NAME).get("FailureReason", "it takes too long"))

    def _delete_endpoint(self) -> None:
        self._sagemaker.delete_endpoint(EndpointName=NAME)
        self._sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=NAME)

    def invoke(self, rows: Any) -> tuple[str, Any]:
        """Return the variant that answered, and its response."""
        response = self._runtime.invoke_endpoint(
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
    capacity = {"InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 1}
    return {"VariantName": name, "ModelName": f"{NAME}-{name}", "InitialVariantWeight": weight} | capacity


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.shadow_variant", description=__doc__)
    parser.add_argument("--image", help="the containers' image (default: demo-sagemaker-multimodel in your ECR)")
    parser.add_argument("--role", help="the ARN of the role that SageMaker assumes; the emulator ignores it")
    options = parser.parse_args(arguments)
    endpoint = Endpoint(options.image, options.role)
    with tempfile.TemporaryDirectory(prefix="polyhost-example-") as folder:
        unseen, expected = train(Path(folder))
        with endpoint.running(Path(folder)):
            answered = {endpoint.invoke(unseen[:1])[0] for _ in range(CALLS)}
            print(f"answered by: {', '.join(sorted(answered))}")
            endpoint.wait_for_metrics()
            for name in (PRODUCTION, SHADOW):
                calls, errors = (endpoint.metric(name, metric) for metric in ("Invocations", "InvocationModelErrors"))
                milliseconds = endpoint.metric(name, "ModelLatency", "Average") / 1000
                print(f"{name}: {calls:.0f} invocations, {errors:.0f} errors, {milliseconds:.1f} ms on average")
            endpoint.promote()
            variant, classes = endpoint.invoke(unseen)
    right = sum(one == other for one, other in zip(classes, expected.tolist(), strict=True))
    print(f"promoted: {variant} recognises {right} of {len(expected)} digits")
    return 0


if __name__ == "__main__":
    sys.exit(main())
