"""A thousand asynchronous invocations of a small model on two instances, beside as many of a real-time endpoint.

Run `.venv/bin/python -m benchmarks.async_inference`. Everything is the emulator's own: S3, the queue, the containers
(native front end). Each invocation has an input of its own, which is uploaded before the clock starts.
"""

import argparse
import io
import json
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config

from benchmarks.machine import Machine
from polyhost.processes import RunningEmulator, running_emulator

BUCKET = "bench"
CLIENTS = 8
INSTANCES = 2
REAL_TIME, ASYNC = "real-time", "async"
ROLE = "arn:aws:iam::123456789012:role/bench"


@dataclass(frozen=True)
class Account:
    """Clients of an emulator, each shared by the threads."""

    emulator: RunningEmulator
    s3: Any
    sagemaker: Any
    runtime: Any

    def host(self, name: str, **config: Any) -> None:
        """Create an endpoint of the one model, and return when it is in service."""
        capacity = {"InstanceType": "ml.m5.large", "InitialInstanceCount": INSTANCES}
        variant = {"VariantName": "AllTraffic", "ModelName": "bench"} | capacity
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], **config)
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        self.sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name)

    def delete(self, name: str) -> None:
        """Delete an endpoint, so that its containers take no part in what is measured next."""
        self.sagemaker.delete_endpoint(EndpointName=name)
        self.sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name)

    def backlog(self) -> int:
        """Return how many asynchronous invocations wait or run."""
        state = httpx.get(f"{self.emulator.dashboard_url}state", timeout=60).json()
        queues = [endpoint["queue"] for endpoint in state["endpoints"] if endpoint["queue"]]
        return sum(queue["waiting"] + queue["running"] for queue in queues)

    def object_at(self, location: str) -> Any:
        """Return an object of JSON. Raises botocore's errors without one."""
        key = location.removeprefix(f"s3://{BUCKET}/")
        return json.loads(self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())


@contextmanager
def running_account() -> Iterator[Account]:
    with tempfile.TemporaryDirectory(prefix="polyhost-bench-") as folder, running_emulator(Path(folder)) as emulator:
        clients = (
            boto3.client(
                service,
                region_name="us-east-1",
                endpoint_url=emulator.url,
                aws_access_key_id="bench",
                aws_secret_access_key="bench",
                config=Config(max_pool_connections=CLIENTS, retries={"total_max_attempts": 1}),
            )
            for service in ("s3", "sagemaker", "sagemaker-runtime")
        )
        account = Account(emulator, *clients)
        account.s3.create_bucket(Bucket=BUCKET)
        yield account


def train() -> tuple[bytes, list[list[float]], list[int]]:
    """Return an archive of a logistic regression, digits, and the classes that it gives them."""
    import joblib
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    pixels, classes = load_digits(return_X_y=True)
    model = LogisticRegression(max_iter=5000).fit(pixels / 16, classes)
    weights, content = io.BytesIO(), io.BytesIO()
    joblib.dump(model, weights)
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        member = tarfile.TarInfo("model.joblib")
        member.size = weights.tell()
        weights.seek(0)
        tar.addfile(member, weights)
    rows = (pixels / 16).tolist()
    return content.getvalue(), rows, model.predict(rows).tolist()


def in_threads(work: Callable[[int], Any], count: int) -> tuple[float, list[Any]]:
    """Return the seconds that `count` calls take from CLIENTS threads, and their results."""
    start = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as threads:
        results = list(threads.map(work, range(count)))
    return time.perf_counter() - start, results


def measure(account: Account, count: int) -> list[str]:
    """Return the lines of the report. Raises AssertionError if an answer is missing or wrong."""
    archive, rows, classes = train()
    account.s3.put_object(Bucket=BUCKET, Key="model.tar.gz", Body=archive)
    environment = {"POLYHOST_FRONTEND": "native", "POLYHOST_ZYGOTES": "sklearn"}
    container = {"Image": "polyhost", "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz", "Environment": environment}
    account.sagemaker.create_model(ModelName="bench", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    bodies = [json.dumps([rows[number % len(rows)]]) for number in range(count)]
    expected = [[classes[number % len(rows)]] for number in range(count)]
    in_threads(lambda number: account.s3.put_object(Bucket=BUCKET, Key=f"in/{number}", Body=bodies[number]), count)

    def invoke(number: int) -> Any:
        response = account.runtime.invoke_endpoint(
            EndpointName=REAL_TIME, ContentType="application/json", Body=bodies[number]
        )
        return json.loads(response["Body"].read())

    account.host(REAL_TIME)
    in_threads(invoke, 10 * CLIENTS)  # the first invocations load the model
    real_time_s, answers = in_threads(invoke, count)
    assert answers == expected
    account.delete(REAL_TIME)

    def invoke_async(number: int) -> str:
        response = account.runtime.invoke_endpoint_async(
            EndpointName=ASYNC, ContentType="application/json", InputLocation=f"s3://{BUCKET}/in/{number}"
        )
        return str(response["OutputLocation"])

    account.host(ASYNC, AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": f"s3://{BUCKET}/out"}})
    in_threads(invoke_async, 10 * CLIENTS)
    while account.backlog():
        time.sleep(0.05)
    start = time.perf_counter()
    accepted_s, locations = in_threads(invoke_async, count)
    while account.backlog():
        time.sleep(0.05)
    answered_s = time.perf_counter() - start
    assert in_threads(lambda number: account.object_at(locations[number]), count)[1] == expected
    return [
        f"real-time: {count / real_time_s:.0f}/s from {CLIENTS} clients",
        f"asynchronous, accepted: {count / accepted_s:.0f}/s from {CLIENTS} clients",
        f"asynchronous, answered: {count / answered_s:.0f}/s; all {count} after {answered_s:.1f} s",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.async_inference", description=__doc__)
    parser.add_argument("--invocations", type=int, default=1000, help="how many of each kind; 1000")
    options = parser.parse_args(arguments)
    print(Machine.current())
    with running_account() as account:
        print("\n".join(measure(account, options.invocations)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
