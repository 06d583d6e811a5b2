"""Serverless endpoints of the emulator: the first answer from nothing, and a burst of 50 calls from zero.

python -m benchmarks.serverless; run it on a machine that does nothing else. It takes some minutes, and 10 GB of memory
for the burst on polyhost, which holds ten containers.
"""

import argparse
import json
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Barrier
from typing import Any

import boto3
import psutil
from botocore.config import Config
from botocore.exceptions import ClientError

from benchmarks.emulator import archive
from benchmarks.machine import Machine
from benchmarks.models import KINDS, Shelf
from benchmarks.servers import ROOT
from polyhost.processes import RunningEmulator, running_emulator

KIND = KINDS["lr"]
BURST = 50
MEMORY_MB = 1024
IDLE_S = 3.0
GONE_S = 120.0
STAND_IN = "stand-in"  # the image of a container that starts at once and holds nothing
STAND_IN_COMMAND = f"{sys.executable} {ROOT / 'tests' / 'emulator' / 'small_container.py'}"


@dataclass(frozen=True)
class Setup:
    """A container to measure."""

    name: str
    image: str
    environment: Mapping[str, str]


NATIVE = {"POLYHOST_FRONTEND": "native"}
SETUPS = (
    Setup("stand-in", STAND_IN, {}),
    Setup("polyhost, native, one zygote", "polyhost", NATIVE | {"POLYHOST_ZYGOTES": "sklearn"}),
    Setup("polyhost, native", "polyhost", NATIVE),
    Setup("polyhost, MMS", "polyhost", {}),
)


class ServerlessEndpoint:
    """An endpoint that is in service, without containers."""

    def __init__(self, emulator: RunningEmulator, body: bytes) -> None:
        self._emulator = emulator
        self._body = body
        self._runtime = self._client("sagemaker-runtime")

    def create(self, setup: Setup, content: bytes, max_concurrency: int) -> None:
        s3, sagemaker = self._client("s3"), self._client("sagemaker")
        s3.create_bucket(Bucket="bench")
        s3.put_object(Bucket="bench", Key="model.tar.gz", Body=content)
        container = {
            "Image": setup.image,
            "ModelDataUrl": "s3://bench/model.tar.gz",
            "Environment": dict(setup.environment),
        }
        role = "arn:aws:iam::123456789012:role/bench"
        sagemaker.create_model(ModelName="bench", ExecutionRoleArn=role, PrimaryContainer=container)
        capacity = {"MemorySizeInMB": MEMORY_MB, "MaxConcurrency": max_concurrency}
        variant = {"VariantName": "AllTraffic", "ModelName": "bench", "ServerlessConfig": capacity}
        sagemaker.create_endpoint_config(EndpointConfigName="bench", ProductionVariants=[variant])
        sagemaker.create_endpoint(EndpointName="bench", EndpointConfigName="bench")
        sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="bench")

    def call(self) -> tuple[str, float]:
        """Return the error's code, or `answered`, and the seconds that the call took."""
        start = time.perf_counter()
        try:
            response = self._runtime.invoke_endpoint(
                EndpointName="bench", ContentType=KIND.content_type, Body=self._body
            )
            response["Body"].read()
            code = "answered"
        except ClientError as error:
            code = str(error.response["Error"]["Code"])
        return code, time.perf_counter() - start

    def containers(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self._emulator.dashboard_url}state", timeout=60) as response:
            (endpoint,) = json.loads(response.read())["endpoints"]
        return [container for variant in endpoint["variants"] for container in variant["instances"]]

    def wait_until_empty(self) -> None:
        deadline = time.monotonic() + GONE_S
        while self.containers():
            if time.monotonic() > deadline:
                raise TimeoutError(f"containers are left after {GONE_S:.0f} s")
            time.sleep(0.1)

    def _client(self, service: str) -> Any:
        settings = Config(retries={"total_max_attempts": 1}, max_pool_connections=BURST, read_timeout=120)
        keys = {"aws_access_key_id": "bench", "aws_secret_access_key": "bench"}
        url = self._emulator.url
        return boto3.client(service, region_name="us-east-1", endpoint_url=url, config=settings, **keys)


@contextmanager
def endpoint(shelf: Shelf, setup: Setup, max_concurrency: int, idle_s: float) -> Iterator[ServerlessEndpoint]:
    options = ("--serverless-idle", str(idle_s), "--image-command", f"{STAND_IN}={STAND_IN_COMMAND}")
    with (
        tempfile.TemporaryDirectory(prefix="polyhost-bench-") as folder,
        running_emulator(Path(folder), *options) as emulator,
    ):
        started = ServerlessEndpoint(emulator, shelf.body(KIND).read_bytes())
        started.create(setup, _content(shelf, setup), max_concurrency)
        yield started


def _content(shelf: Shelf, setup: Setup) -> bytes:
    if setup.image != STAND_IN:
        return archive(shelf, KIND)
    # Imported here: the tests' requirements are needed for this alone.
    from tests.emulator.archives import archive as stand_in_archive

    return stand_in_archive("one")


def cold_start(shelf: Shelf, setup: Setup, count: int) -> str:
    """Measure the first answer from nothing, and a warm one after it."""
    first, warm, used, computed = [], [], [], []
    with endpoint(shelf, setup, 1, IDLE_S) as hosted:
        for _ in range(count):
            hosted.wait_until_empty()
            code, seconds = hosted.call()
            if code != "answered":
                return f"{setup.name}: {code} after {seconds:.1f} s"
            first.append(seconds)
            (container,) = hosted.containers()
            computed.append(_cpu_s(container["pid"]))
            used.append(container["memory_used"] or 0)
            warm.append(hosted.call()[1])
    return (
        f"{setup.name}: first answer {median(first):.2f} s ({min(first):.2f} to {max(first):.2f}),"
        f" of which {median(computed):.2f} s on a processor; warm {1e3 * median(warm):.1f} ms,"
        f" memory {max(used) / 2**20:.0f} MiB of {MEMORY_MB}"
    )


def _cpu_s(pid: int) -> float:
    """Return the processor time of a process, its descendants, and those of them that have ended, in seconds."""
    process = psutil.Process(pid)
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # its parent's times have it then
            times = each.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def burst(shelf: Shelf, setup: Setup, max_concurrency: int) -> str:
    """Send 50 calls at the same moment to an endpoint without containers."""
    with endpoint(shelf, setup, max_concurrency, 600.0) as hosted, ThreadPoolExecutor(BURST) as threads:
        together = Barrier(BURST)

        def call(_: int) -> tuple[str, float]:
            together.wait()
            return hosted.call()

        start = time.perf_counter()
        results = list(threads.map(call, range(BURST)))
        seconds = time.perf_counter() - start
        containers = hosted.containers()
    codes = Counter(code for code, _ in results)
    answered = [seconds for code, seconds in results if code == "answered"]
    rejected = [seconds for code, seconds in results if code == "ThrottlingException"]
    text = ", ".join(f"{count} {code}" for code, count in sorted(codes.items()))
    slowest = f"; the slowest throttled call took {1e3 * max(rejected):.0f} ms" if rejected else ""
    return (
        f"{setup.name}, MaxConcurrency {max_concurrency}, {BURST} calls: {text} in {seconds:.2f} s;"
        f" first answer {min(answered):.2f} s, last {max(answered):.2f} s; {len(containers)} containers{slowest}"
    )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serverless", description=__doc__)
    parser.add_argument("--only", choices=("cold", "burst"), help="one of the two parts")
    parser.add_argument("--cold-starts", type=int, default=5, help="how many of each container; 5")
    given = parser.parse_args(arguments)
    shelf = Shelf(ROOT / "build" / "bench-models")
    shelf.fill(iter([KIND]))
    print(Machine.current(), flush=True)
    if given.only in (None, "cold"):
        for setup in SETUPS:
            print(cold_start(shelf, setup, given.cold_starts), flush=True)
    if given.only in (None, "burst"):
        for setup, most in ((SETUPS[0], BURST), (SETUPS[0], 10), (SETUPS[1], 10)):
            print(burst(shelf, setup, most), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
