"""What the emulator adds to the latency of its containers, its throughput, and 200 models in too little memory.

scripts/bench-emulator runs this. The targets are those of docs/performance.md.
"""

import argparse
import http.client
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import boto3
from rich.console import Console
from rich.table import Table

from benchmarks.client import TIMEOUT_S, ResponseError
from benchmarks.models import KINDS, Kind, Shelf
from benchmarks.servers import ROOT
from polyhost.processes import ProcessError, RunningEmulator, running_emulator

KIND = KINDS["lr"]
BUCKET = "bench"
ENDPOINT = "bench"
CLIENTS = 8
SCRIPT = Path(__file__).parent / "wrk.lua"
TARGET = "X-Amzn-SageMaker-Target-Model"
# Small enough that 200 models of KIND do not fit on two instances of this type.
CROWDED_TYPE = "ml.m5.large"
WARM_UP_S = 3.0
FIRST_RESPONSE_S = 120.0


@dataclass(frozen=True)
class EmulatorEffort:
    """The size of a run."""

    rounds: int
    requests: int  # to each side per round
    seconds: float
    models: int
    random_requests: int


FULL = EmulatorEffort(rounds=10, requests=200, seconds=10.0, models=200, random_requests=4000)
QUICK = EmulatorEffort(rounds=3, requests=50, seconds=2.0, models=40, random_requests=400)


@dataclass(frozen=True)
class EmulatorFigure:
    """One line of the table. `met` is None if there is no target."""

    what: str
    value: float
    unit: str
    target: str = ""
    met: bool | None = None


class EndpointClient:
    """One kept connection of http.client that repeats the same request."""

    def __init__(self, url: str, path: str, body: bytes) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S)
        self._path = path
        self._body = body

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def invoke(self, model: str) -> float:
        """Invoke the model and return the seconds that took. Raises ResponseError."""
        headers = {"Content-Type": KIND.content_type, TARGET: model}
        start = time.perf_counter()
        self._connection.request("POST", self._path, self._body, headers)
        response = self._connection.getresponse()
        content = response.read()
        seconds = time.perf_counter() - start
        if response.status != http.client.OK:
            raise ResponseError(f"{response.status} from {model}: {content[:500].decode(errors='replace')}")
        return seconds


def warm_up(hosted: "HostedEndpoint", models: int) -> None:
    """Wait for the first responses: containers import their frameworks after their first /ping."""
    with ThreadPoolExecutor(models) as threads:
        list(threads.map(lambda number: _wait_for_response(hosted, name_of(number)), range(models)))


def _wait_for_response(hosted: "HostedEndpoint", model: str) -> None:
    deadline = time.monotonic() + FIRST_RESPONSE_S
    while True:
        try:
            with hosted.client() as client:
                client.invoke(model)
            return
        except ResponseError:
            if time.monotonic() > deadline:
                raise
        time.sleep(1)


@dataclass(frozen=True)
class HostedEndpoint:
    """An endpoint that is in service, and the body of its requests."""

    emulator: RunningEmulator
    body: bytes
    body_file: Path

    path = f"/endpoints/{ENDPOINT}/invocations"

    def client(self) -> EndpointClient:
        return EndpointClient(self.emulator.url, self.path, self.body)

    def direct(self, model: str) -> tuple[str, str]:
        """Return URL and path of the container that has the model."""
        for instance in self.instances():
            for copy in instance["models"]:
                if copy["name"] == model:
                    return instance["url"], f"/models/{copy['key']}/invoke"
        raise ProcessError(f"no instance has {model}")

    def instances(self) -> list[dict[str, Any]]:
        (endpoint,) = json.loads(self._get("state"))["endpoints"]
        return [instance for variant in endpoint["variants"] for instance in variant["instances"]]

    def total(self, series: str) -> float:
        """Return the sum of a series over all models, from the emulator's own metrics."""
        pattern = rf"^polyhost_{series}\{{.*\}} (\S+)$"
        return sum(float(value) for value in re.findall(pattern, self._get("metrics"), re.MULTILINE))

    def _get(self, name: str) -> str:
        with urllib.request.urlopen(f"{self.emulator.dashboard_url}{name}", timeout=TIMEOUT_S) as response:
            return str(response.read(), "utf-8")


@contextmanager
def hosting(
    shelf: Shelf, front: str, instance_type: str, instances: int, models: int, *options: str
) -> Iterator[HostedEndpoint]:
    """Run an emulator with one endpoint and `models` equal archives; `front` is the front end of its containers."""
    with (
        tempfile.TemporaryDirectory(prefix="polyhost-bench-") as folder,
        running_emulator(Path(folder), *options) as emulator,
    ):
        s3, sagemaker = (
            boto3.client(
                service,
                region_name="us-east-1",
                endpoint_url=emulator.url,
                aws_access_key_id="bench",
                aws_secret_access_key="bench",
            )
            for service in ("s3", "sagemaker")
        )
        s3.create_bucket(Bucket=BUCKET)
        content = archive(shelf, KIND)
        for number in range(models):
            s3.put_object(Bucket=BUCKET, Key=f"models/{name_of(number)}", Body=content)
        container = {
            "Image": "polyhost",
            "Mode": "MultiModel",
            "ModelDataUrl": f"s3://{BUCKET}/models/",
            "Environment": {"POLYHOST_FRONTEND": front},
        }
        role = "arn:aws:iam::123456789012:role/bench"
        sagemaker.create_model(ModelName=ENDPOINT, ExecutionRoleArn=role, PrimaryContainer=container)
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": ENDPOINT,
            "InstanceType": instance_type,
            "InitialInstanceCount": instances,
        }
        sagemaker.create_endpoint_config(EndpointConfigName=ENDPOINT, ProductionVariants=[variant])
        sagemaker.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName=ENDPOINT)
        sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=ENDPOINT)
        yield HostedEndpoint(emulator, shelf.body(KIND).read_bytes(), shelf.body(KIND))


def name_of(number: int) -> str:
    return f"model-{number:03d}.tar.gz"


def archive(shelf: Shelf, kind: Kind) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        tar.add(shelf.model(kind), arcname=".")
    return content.getvalue()


def overhead(shelf: Shelf, effort: EmulatorEffort, front: str) -> list[EmulatorFigure]:
    """Measure one client, alternately through the emulator and at the container, so that a drift affects both."""
    with hosting(shelf, front, "ml.m5.large", 1, 1) as hosted:
        model = name_of(0)
        warm_up(hosted, 1)
        with hosted.client() as through, EndpointClient(*hosted.direct(model), hosted.body) as direct:
            _invoke(through, model, effort.requests)
            _invoke(direct, model, effort.requests)
            ours: list[float] = []
            theirs: list[float] = []
            for _ in range(effort.rounds):
                theirs += _invoke(direct, model, effort.requests)
                ours += _invoke(through, model, effort.requests)
        added = (median(ours) - median(theirs)) * 1e3
        _load(hosted.emulator.url, hosted.path, hosted, WARM_UP_S)
        held = _load(hosted.emulator.url, hosted.path, hosted, effort.seconds)
        straight = _load(*hosted.direct(model), hosted, effort.seconds)
    return [
        EmulatorFigure("p50, one client: the container alone", median(theirs) * 1e3, "ms"),
        EmulatorFigure("p50, one client: through the emulator", median(ours) * 1e3, "ms"),
        EmulatorFigure("added at p50", added, "ms", "≤ 2 ms", added <= 2),
        EmulatorFigure(f"{CLIENTS} clients: the container alone", straight["requests"] / straight["seconds"], "/s"),
        _held(held["requests"] / held["seconds"]),
        EmulatorFigure(f"{CLIENTS} clients, p99: through the emulator", held["p99_ms"], "ms"),
    ]


def _held(per_second: float) -> EmulatorFigure:
    return EmulatorFigure(f"{CLIENTS} clients: through the emulator", per_second, "/s", "≥ 800/s", per_second >= 800)


def _invoke(client: EndpointClient, model: str, count: int) -> list[float]:
    return [client.invoke(model) for _ in range(count)]


def _load(url: str, path: str, hosted: HostedEndpoint, seconds: float) -> dict[str, float]:
    """Generate load by another process: wrk if it is installed, else benchmarks.generator."""
    wrk = shutil.which("wrk")
    own = [sys.executable, "-m", "benchmarks.generator", str(urlsplit(url).port), path, str(CLIENTS), str(seconds)]
    known = ["-t1", f"-c{CLIENTS}", f"-d{seconds:.0f}s", "--timeout", "30s", "-s", str(SCRIPT), url + path]
    variables = {
        "BODY_FILE": str(hosted.body_file),
        "CONTENT_TYPE": KIND.content_type,
        "TARGET_MODEL": name_of(0),
    }
    environ = {**os.environ, **variables}
    command = [wrk, *known] if wrk else own
    ran = subprocess.run(command, env=environ, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=seconds + 60)
    figures: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    if figures["errors"] or not figures["requests"]:
        raise ResponseError(f"{figures['errors']} of {figures['requests']} requests to {path} failed")
    return figures


def crowd(shelf: Shelf, effort: EmulatorEffort, front: str, scale: float) -> list[EmulatorFigure]:
    """Invoke models at random on two instances that have no room for all of them."""
    with hosting(shelf, front, CROWDED_TYPE, 2, effort.models, "--memory-scale", str(scale)) as hosted:
        warm_up(hosted, CLIENTS)
        hits, unloads = hosted.total("model_cache_hits_total"), hosted.total("model_unloading_seconds_count")
        start = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as threads:
            shares = list(threads.map(lambda seed: _invoke_at_random(hosted, effort, seed), range(CLIENTS)))
        seconds = time.perf_counter() - start
        answered = sum(len(times) for times, _ in shares)
        cold = answered - (hosted.total("model_cache_hits_total") - hits)
        unloaded = hosted.total("model_unloading_seconds_count") - unloads
        instances = hosted.instances()
    errors = [error for _, failed in shares for error in failed]
    for error in errors[:5]:
        print(f"failed: {error}", file=sys.stderr)
    times = [seconds for seconds_of_one, _ in shares for seconds in seconds_of_one]
    what = f"{effort.models} models at random on 2 instances"
    limit = instances[0]["memory_limit"] / 2**20
    return [
        EmulatorFigure(f"{what}: memory of each", limit, "MiB"),
        EmulatorFigure(f"{what}: requests", answered + len(errors), ""),
        EmulatorFigure(f"{what}: errors", len(errors), "", "0", not errors),
        EmulatorFigure(f"{what}: cold share", 100 * cold / max(1, answered), "%"),
        EmulatorFigure(f"{what}: evictions", unloaded, ""),
        EmulatorFigure(f"{what}: loaded at the end", sum(len(instance["models"]) for instance in instances), ""),
        EmulatorFigure(f"{what}: containers restarted", sum(instance["restarts"] for instance in instances), ""),
        EmulatorFigure(f"{what}: requests per second", answered / seconds, "/s"),
        EmulatorFigure(f"{what}: p50", median(times) * 1e3 if times else 0.0, "ms"),
    ]


def _invoke_at_random(hosted: HostedEndpoint, effort: EmulatorEffort, seed: int) -> tuple[list[float], list[str]]:
    chance = random.Random(seed)
    times, errors = [], []
    with hosted.client() as client:
        for _ in range(effort.random_requests // CLIENTS):
            try:
                times.append(client.invoke(name_of(chance.randrange(effort.models))))
            except (ResponseError, OSError, http.client.HTTPException) as error:
                errors.append(str(error))
    return times, errors


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench-emulator", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few samples, short runs: to try, not to publish")
    parser.add_argument("--only", choices=("overhead", "crowd"), help="one of the two parts")
    parser.add_argument("--memory-scale", type=float, default=0.15, help="of the crowded instances (8 GiB); 0.15")
    parser.add_argument("--front", choices=("mms", "native"), default="mms", help="the containers' front end; mms")
    parser.add_argument("--json", type=Path, help="the file for the results")
    given = parser.parse_args(arguments)
    effort = QUICK if given.quick else FULL
    shelf = Shelf(ROOT / "build" / "bench-models")
    subprocess.run([sys.executable, "-m", "benchmarks.models", str(shelf.folder)], cwd=ROOT, check=True)
    parts: dict[str, Callable[[], list[EmulatorFigure]]] = {
        "overhead": lambda: overhead(shelf, effort, given.front),
        "crowd": lambda: crowd(shelf, effort, given.front, given.memory_scale),
    }
    rows = [row for name, part in parts.items() if given.only in (None, name) for row in part()]
    Console(width=None if sys.stdout.isatty() else 120).print(_table(rows))
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False) + "\n")
    return 1 if any(row.met is False for row in rows) else 0


def _table(rows: Sequence[EmulatorFigure]) -> Table:
    words = {True: "[green]met[/green]", False: "[red]missed[/red]", None: ""}
    table = Table("", "", "target", "", box=None)
    table.columns[1].justify = "right"
    for row in rows:
        digits = 0 if row.value >= 100 or not row.unit else 1
        table.add_row(row.what, f"{row.value:,.{digits}f} {row.unit}", row.target, words[row.met])
    return table


if __name__ == "__main__":
    # SIGTERM unwinds like Ctrl-C, so that it stops the emulator as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
