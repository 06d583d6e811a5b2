"""Serverless inference: an endpoint without instances, whose containers come with the calls and go when they are idle.

A classifier of digits gets an endpoint that costs nothing while nobody calls it. The first call waits for a container,
which is a cold start; the next one does not. A burst shows the maximum concurrency at work, and CloudWatch how long the
cold starts took. Then provisioned concurrency keeps a container warm. `examples.serverless_api` serves the same archive
by a function of Lambda. The environment alone decides where it runs.
Here, offline, with `polyhost emulator` in another shell:

    eval "$(polyhost emulator env)"
    python -m examples.serverless_endpoint

On AWS: credentials, a region, an image in ECR, `--image` and `--role ARN`.
"""

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from examples.account import Account, Resources, argument_parser

NAME = "digits-serverless"
PROVISIONED = f"{NAME}-provisioned"  # the second endpoint configuration
CAPACITY = {"MemorySizeInMB": 1024, "MaxConcurrency": 2}
BURST = 6
METRICS_WAIT_S = 300.0  # AWS publishes metrics once a minute, the emulator once a second


def train(folder: Path) -> Any:
    """Write the contents of the archive, and return digits that the model has not seen, with their classes."""
    import joblib
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split

    pixels, classes = load_digits(return_X_y=True)
    x, unseen, y, expected = train_test_split(pixels / 16, classes, test_size=100, random_state=0)
    folder.mkdir()
    joblib.dump(LogisticRegression(max_iter=500).fit(x, y), folder / "model.joblib")
    return unseen, expected


class Endpoint:
    """The endpoint and its two endpoint configurations: on demand, and with provisioned concurrency."""

    def __init__(self, account: Account) -> None:
        self._account = account
        # A client of its own, because boto3 tries throttled calls again, and here they are counted.
        self._runtime = boto3.client("sagemaker-runtime", config=Config(retries={"total_max_attempts": 1}))
        self._cloudwatch = boto3.client("cloudwatch")
        self._start = datetime.now(UTC) - timedelta(minutes=1)

    def create(self, resources: Resources, folder: Path) -> None:
        """Create the endpoint, and return when it is in service."""
        container = {
            "Image": self._account.image,
            "ModelDataUrl": self._account.upload_archive(folder, NAME),
            # One front end without Java and one framework: a container for 1,024 MB, and for short cold starts.
            "Environment": {"POLYHOST_FRONTEND": "native", "POLYHOST_ZYGOTES": "sklearn"},
        }
        resources.create_model(NAME, PrimaryContainer=container)
        for config, capacity in ((NAME, CAPACITY), (PROVISIONED, CAPACITY | {"ProvisionedConcurrency": 1})):
            variant = {"VariantName": "AllTraffic", "ModelName": NAME, "ServerlessConfig": capacity}
            resources.create_endpoint_config(config, ProductionVariants=[variant])
        resources.create_endpoint(NAME, NAME)

    def invoke(self, rows: Any) -> Any:
        """Return the model's response."""
        response = self._runtime.invoke_endpoint(
            EndpointName=NAME, ContentType="application/json", Accept="application/json", Body=json.dumps(rows.tolist())
        )
        return json.loads(response["Body"].read())

    def burst(self, rows: Any) -> Counter[str]:
        """Return what becomes of several calls at the same time: `answered`, or the error's code."""

        def call(_: int) -> str:
            try:
                self.invoke(rows)
            except ClientError as error:
                return str(error.response["Error"]["Code"])
            return "answered"

        with ThreadPoolExecutor(BURST) as threads:
            return Counter(threads.map(call, range(BURST)))

    def cold_starts(self) -> tuple[int, float]:
        """Return how many cold starts CloudWatch knows of, once it does, and the seconds that they took on average."""
        deadline = time.monotonic() + METRICS_WAIT_S
        while not (points := self._setup_times()):
            if time.monotonic() > deadline:
                sys.exit(f"CloudWatch has no ModelSetupTime of {NAME} after {METRICS_WAIT_S:.0f} s")
            time.sleep(1)
        count = sum(point["SampleCount"] for point in points)
        return int(count), sum(point["Sum"] for point in points) / count / 1e6

    def _setup_times(self) -> list[dict[str, Any]]:
        points: list[dict[str, Any]] = self._cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName="ModelSetupTime",
            Dimensions=[{"Name": "EndpointName", "Value": NAME}, {"Name": "VariantName", "Value": "AllTraffic"}],
            StartTime=self._start,
            EndTime=datetime.now(UTC) + timedelta(minutes=1),
            Period=3600,
            Statistics=["Sum", "SampleCount"],
        )["Datapoints"]
        return points


def timed_call(endpoint: Endpoint, rows: Any, what: str) -> Any:
    """Print how long a call takes, and return the response."""
    start = time.perf_counter()
    response = endpoint.invoke(rows)
    print(f"{what}: {time.perf_counter() - start:.2f} s")
    return response


def main(arguments: Sequence[str] | None = None) -> int:
    options = argument_parser("serverless_endpoint", __doc__).parse_args(arguments)
    account = Account(options.image, options.role)
    endpoint = Endpoint(account)
    with tempfile.TemporaryDirectory(prefix="polyhost-example-") as folder, Resources(account) as resources:
        unseen, expected = train(Path(folder) / "model")
        endpoint.create(resources, Path(folder) / "model")
        timed_call(endpoint, unseen[:1], "the first call, a cold start")
        timed_call(endpoint, unseen[:1], "the second call, of a warm container")
        outcomes = ", ".join(f"{count} {code}" for code, count in sorted(endpoint.burst(unseen[:1]).items()))
        print(f"{BURST} calls at once, of which {CAPACITY['MaxConcurrency']} may run: {outcomes}")
        count, seconds = endpoint.cold_starts()
        print(f"cold starts: {count}, of {seconds:.2f} s on average")
        resources.update_endpoint(NAME, PROVISIONED)
        classes = timed_call(endpoint, unseen, "the first call with provisioned concurrency")
    right = sum(one == other for one, other in zip(classes, expected.tolist(), strict=True))
    print(f"{right} of {len(expected)} digits recognised")
    return 0


if __name__ == "__main__":
    sys.exit(main())
