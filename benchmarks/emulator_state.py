"""What `polyhost emulator --state` costs: S3 puts and SQS messages with it and without, and starts after a kill.

python -m benchmarks.emulator_state
"""

import argparse
import io
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import boto3
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine
from polyhost.processes import RunningEmulator, running_emulator

BUCKET = "bench"
PUTS = {1_000: 400, 1_000_000: 100, 10_000_000: 25}  # how many, by their size in bytes
MESSAGES = 200
ENDPOINTS = 3
REPEATS = 3
MODEL = (
    "def model_fn(folder):\n    return None\n\ndef transform_fn(model, body, content_type, accept):\n    return body\n"
)

console = Console()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=1000, help="objects of 1 MB that a start restores")
    objects = parser.parse_args().objects
    console.print(str(Machine.current()))
    with tempfile.TemporaryDirectory(prefix="polyhost-bench-") as folder:
        requests(Path(folder))
        starts(Path(folder), objects)
        endpoints(Path(folder))


def requests(folder: Path) -> None:
    """Measure requests in turns, so that a drift of the machine affects both sides."""
    with emulator(folder / "a") as plain, emulator(folder / "b", "--state", str(folder / "requests")) as durable:
        table = Table("request", "p10 without, ms", "with", "median without, ms", "with")
        clients = [client(side, "s3") for side in (plain, durable)]
        for size, count in PUTS.items():
            body = os.urandom(size)

            def put(side: int, number: int, size: int = size, body: bytes = body) -> None:
                clients[side].put_object(Bucket=BUCKET, Key=f"{size}-{number}", Body=body)

            row(table, f"S3 put of {size:,} bytes", put, count)
        queues = [client(side, "sqs") for side in (plain, durable)]
        urls = [queue.create_queue(QueueName="bench")["QueueUrl"] for queue in queues]
        row(
            table,
            "SQS message of 500 bytes",
            lambda side, _: queues[side].send_message(QueueUrl=urls[side], MessageBody="x" * 500),
            MESSAGES,
        )
    console.print(table)


def row(table: Table, what: str, request: Callable[[int, int], Any], count: int) -> None:
    times: tuple[list[float], list[float]] = [], []
    for number in range(count):
        for side in (0, 1):
            start = time.perf_counter()
            request(side, number)
            times[side].append((time.perf_counter() - start) * 1e3)
    low = [sorted(side)[count // 10] for side in times]
    table.add_row(what, *(f"{value:.1f}" for value in (*low, *map(median, times))))


def starts(folder: Path, objects: int) -> None:
    """Measure starts with many objects, each after a kill, beside starts without a state."""
    state = ("--state", str(folder / "starts"))
    with emulator(folder / "a", *state) as filled:
        s3, body = client(filled, "s3"), os.urandom(1_000_000)
        for number in range(objects):
            s3.put_object(Bucket=BUCKET, Key=str(number), Body=body)
        memory = psutil.Process(filled.process.pid).memory_info().rss / 1e6
        filled.process.kill()
    table = Table("start", "seconds until it answers", "CPU seconds of it", "memory, MB")
    for name, options in (("without a state", ()), (f"{objects} objects of 1 MB", state)):
        for _ in range(REPEATS):
            start = time.perf_counter()
            with running_emulator(folder, *options) as started:
                seconds = time.perf_counter() - start
                process = psutil.Process(started.process.pid)
                cpu = sum(process.cpu_times()[:2])
                table.add_row(name, f"{seconds:.1f}", f"{cpu:.2f}", f"{process.memory_info().rss / 1e6:.0f}")
                started.process.kill()
    console.print(table, f"memory when they had been put: {memory:.0f} MB")


def endpoints(folder: Path) -> None:
    """Measure how long endpoints take to be in service when they are created, and after kills."""
    state = ("--state", str(folder / "endpoints"))
    table = Table(f"{ENDPOINTS} multi-model endpoints", "seconds until all are in service", "and have answered")
    with emulator(folder / "a", *state) as first:
        client(first, "s3").put_object(Bucket=BUCKET, Key="models/m.tar.gz", Body=archive())
        start = time.perf_counter()
        create_endpoints(client(first, "sagemaker"))
        table.add_row("created", *wait(first, start))
        first.process.kill()
    for _ in range(REPEATS):
        start = time.perf_counter()
        with running_emulator(folder, *state) as again:
            table.add_row("restarted, from the emulator's start", *wait(again, start))
            again.process.kill()
    console.print(table)


def create_endpoints(sagemaker: Any) -> None:
    container = {"Image": "polyhost", "Mode": "MultiModel", "ModelDataUrl": f"s3://{BUCKET}/models/"}
    role = "arn:aws:iam::123456789012:role/bench"
    sagemaker.create_model(ModelName="m", ExecutionRoleArn=role, PrimaryContainer=container)
    variant = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    for number in range(ENDPOINTS):
        sagemaker.create_endpoint(EndpointName=f"e{number}", EndpointConfigName="c")


def wait(side: RunningEmulator, start: float) -> tuple[str, str]:
    """Return the seconds since the start when all endpoints were in service, and had answered."""
    waiter = client(side, "sagemaker").get_waiter("endpoint_in_service")
    for number in range(ENDPOINTS):
        waiter.wait(EndpointName=f"e{number}", WaiterConfig={"Delay": 1, "MaxAttempts": 200})
    in_service = time.perf_counter() - start
    runtime = client(side, "sagemaker-runtime")
    for number in range(ENDPOINTS):
        runtime.invoke_endpoint(EndpointName=f"e{number}", TargetModel="m.tar.gz", Body=b"1")["Body"].read()
    return f"{in_service:.1f}", f"{time.perf_counter() - start:.1f}"


def archive() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        member = tarfile.TarInfo("inference.py")
        member.size = len(MODEL)
        tar.addfile(member, io.BytesIO(MODEL.encode()))
    return content.getvalue()


def client(side: RunningEmulator, service: str) -> Any:
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=side.url,
        aws_access_key_id="bench",
        aws_secret_access_key="bench",
    )


@contextmanager
def emulator(folder: Path, *options: str) -> Iterator[RunningEmulator]:
    """Run an emulator with a bucket."""
    folder.mkdir(exist_ok=True)
    with running_emulator(folder, *options) as started:
        client(started, "s3").create_bucket(Bucket=BUCKET)
        yield started


if __name__ == "__main__":
    main()
