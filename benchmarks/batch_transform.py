"""A transform job beside a plain loop over InvokeEndpoint, in lines a second.

    python -m benchmarks.batch_transform

One emulator and one container at a time; the same model and the same lines for both. The loop is what a notebook has:
one line in each call, one call after the other. It sends the first lines only, because all would take minutes. Both
must predict the same.
"""

import argparse
import io
import json
import random
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine
from polyhost.processes import RunningEmulator, running_emulator

NAME = "bench"
REGION = "us-east-1"
ROLE = "arn:aws:iam::123456789012:role/bench"
TYPE = "ml.m5.xlarge"
TARGET = 5.0  # times as many lines a second as the loop


@dataclass(frozen=True)
class Figures:
    """Seconds and lines of both ways. `job_s` is the time on instances, `whole_s` includes their start and end."""

    loop_lines: int
    loop_s: float
    job_lines: int
    job_s: float
    whole_s: float

    @property
    def gain(self) -> float:
        """How many times as many lines a second the whole job makes, its containers' start included."""
        return (self.job_lines / self.whole_s) / (self.loop_lines / self.loop_s)


class Bench:
    """Clients of an emulator, and a model of scikit-learn in it."""

    def __init__(self, emulator: RunningEmulator, folder: Path) -> None:
        keys = {"aws_access_key_id": "bench", "aws_secret_access_key": "bench"}
        self._s3, self._sagemaker, self._runtime = (
            boto3.client(service, region_name=REGION, endpoint_url=emulator.url, **keys)
            for service in ("s3", "sagemaker", "sagemaker-runtime")
        )
        self._s3.create_bucket(Bucket=NAME)
        self._s3.put_object(Bucket=NAME, Key="model.tar.gz", Body=_archive(folder))
        container = {
            "Image": "polyhost",
            "ModelDataUrl": f"s3://{NAME}/model.tar.gz",
            "Environment": {"POLYHOST_FRONTEND": "native", "POLYHOST_ZYGOTES": "sklearn"},
        }
        self._sagemaker.create_model(ModelName=NAME, ExecutionRoleArn=ROLE, PrimaryContainer=container)

    def loop(self, lines: Sequence[str]) -> tuple[float, list[str]]:
        """Invoke an endpoint for each line; return the seconds and the predictions."""
        with self._endpoint():
            self._invoke(lines[0])
            start = time.perf_counter()
            found = [self._invoke(line) for line in lines]
            return time.perf_counter() - start, found

    def job(self, lines: Sequence[str], concurrency: int, payload_mb: int) -> tuple[float, float, list[str]]:
        """Transform all lines as one object; return the seconds on instances, those in all, and the predictions."""
        self._s3.put_object(Bucket=NAME, Key="in/lines.csv", Body="\n".join(lines).encode())
        self._sagemaker.create_transform_job(
            TransformJobName=NAME,
            ModelName=NAME,
            BatchStrategy="MultiRecord",
            MaxConcurrentTransforms=concurrency,
            MaxPayloadInMB=payload_mb,
            TransformInput={
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{NAME}/in/"}},
                "ContentType": "text/csv",
                "SplitType": "Line",
            },
            TransformOutput={"S3OutputPath": f"s3://{NAME}/out", "Accept": "text/csv", "AssembleWith": "Line"},
            TransformResources={"InstanceType": TYPE, "InstanceCount": 1},
        )
        self._sagemaker.get_waiter("transform_job_completed_or_stopped").wait(TransformJobName=NAME)
        job = self._sagemaker.describe_transform_job(TransformJobName=NAME)
        output = self._s3.get_object(Bucket=NAME, Key="out/lines.csv.out")["Body"].read().decode()
        end = job["TransformEndTime"]
        on_instances, in_all = ((end - job[since]).total_seconds() for since in ("TransformStartTime", "CreationTime"))
        return on_instances, in_all, output.splitlines()

    def _invoke(self, line: str) -> str:
        response = self._runtime.invoke_endpoint(
            EndpointName=NAME, ContentType="text/csv", Accept="text/csv", Body=line
        )
        answer: str = response["Body"].read().decode()
        return answer.strip()

    @contextmanager
    def _endpoint(self) -> Iterator[None]:
        variant: dict[str, Any] = {"VariantName": "AllTraffic", "ModelName": NAME, "InstanceType": TYPE}
        self._sagemaker.create_endpoint_config(
            EndpointConfigName=NAME, ProductionVariants=[variant | {"InitialInstanceCount": 1}]
        )
        self._sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME)
        self._sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=NAME)
        try:
            yield
        finally:
            self._sagemaker.delete_endpoint(EndpointName=NAME)
            self._sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=NAME)


def _archive(folder: Path) -> bytes:
    """Return an archive with a logistic regression of the irises."""
    import joblib
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    x, y = load_iris(return_X_y=True)
    joblib.dump(LogisticRegression(max_iter=1000).fit(x, y), folder / "model.joblib")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        tar.add(folder / "model.joblib", "model.joblib")
    return stream.getvalue()


def _lines(count: int) -> list[str]:
    generator = random.Random(0)
    return [",".join(f"{generator.uniform(0.1, 7):.1f}" for _ in range(4)) for _ in range(count)]


def measure(lines: int, loop_lines: int, concurrency: int, payload_mb: int) -> Figures:
    """Run both, one after the other. The program ends if they do not predict the same."""
    made = _lines(lines)
    with tempfile.TemporaryDirectory(prefix="polyhost-bench-") as folder, running_emulator(Path(folder)) as emulator:
        bench = Bench(emulator, Path(folder))
        loop_s, one_by_one = bench.loop(made[:loop_lines])
        job_s, whole_s, together = bench.job(made, concurrency, payload_mb)
    if len(together) != lines or together[:loop_lines] != one_by_one:
        sys.exit("the job and the loop do not predict the same")
    return Figures(loop_lines, loop_s, lines, job_s, whole_s)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch_transform", description=__doc__)
    parser.add_argument("--lines", type=int, default=100_000, help="of the job (default: %(default)s)")
    parser.add_argument("--loop", type=int, default=3_000, help="of the loop (default: %(default)s)")
    parser.add_argument("--concurrency", type=int, default=2, help="MaxConcurrentTransforms (default: %(default)s)")
    parser.add_argument("--payload", type=int, default=1, help="MaxPayloadInMB (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    options = parser.parse_args(arguments)
    figures = measure(options.lines, options.loop, options.concurrency, options.payload)
    table = Table("", "lines", "seconds", "lines a second", title=str(Machine.current()))
    for what, count, seconds in (
        ("a loop over InvokeEndpoint", figures.loop_lines, figures.loop_s),
        ("a transform job, on its instances", figures.job_lines, figures.job_s),
        ("the same, from CreateTransformJob to the end", figures.job_lines, figures.whole_s),
    ):
        table.add_row(what, f"{count:,}", f"{seconds:.1f}", f"{count / seconds:,.0f}")
    console = Console()
    console.print(table)
    console.print(f"{figures.gain:.1f} times the loop (at least {TARGET:g} are wanted)")
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": str(Machine.current()), "gain": figures.gain} | vars(figures)))
    return 0 if figures.gain >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
