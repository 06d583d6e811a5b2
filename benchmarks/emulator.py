"""What the emulator adds to its containers' own answers, what it holds, and 200 models in too little memory.

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

from rich.console import Console
from rich.table import Table

from benchmarks.api import TIMEOUT_S, AnswerError
from benchmarks.models import KINDS, Kind, Shelf
from benchmarks.servers import ROOT
from examples.local_sagemaker import LocalSageMaker, emulating
from examples.server import ServerError

KIND = KINDS["lr"]
BUCKET = "bench"
ENDPOINT = "bench"
CLIENTS = 8
SCRIPT = Path(__file__).parent / "wrk.lua"
TARGET = "X-Amzn-SageMaker-Target-Model"
# Little enough that 200 models of KIND do not fit on two instances of this type.
CROWDED_TYPE = "ml.m5.large"
WARM_UP_S = 3.0
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Effort:
    rounds: int
    calls: int  # of each side in a round
    seconds: float
    models: int
    random_calls: int


FULL = Effort(rounds=10, calls=200, seconds=10.0, models=200, random_calls=4000)
QUICK = Effort(rounds=3, calls=50, seconds=2.0, models=40, random_calls=400)


@dataclass(frozen=True)
class Row:
    """`met` is None where nothing is promised."""

    what: str
    value: float
    unit: str
    target: str = ""
    met: bool | None = None


class Asker:
    """One kept connection that sends the same request again and again, with as little of its own time as can be."""

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

    def ask(self, model: str) -> float:
        """Seconds. Raises AnswerError."""
        headers = {"Content-Type": KIND.content_type, TARGET: model}
        start = time.perf_counter()
        self._connection.request("POST", self._path, self._body, headers)
        response = self._connection.getresponse()
        answer = response.read()
        took = time.perf_counter() - start
        if response.status != http.client.OK:
            raise AnswerError(f"{model} was answered with {response.status}: {answer[:500].decode(errors='replace')}")
        return took


def warm_up(hosted: "Hosted", models: int) -> None:
    """Containers import their frameworks behind their first /ping, so the first loads wait for that."""
    with ThreadPoolExecutor(models) as threads:
        list(threads.map(lambda number: _until_answered(hosted, name_of(number)), range(models)))


def _until_answered(hosted: "Hosted", model: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with hosted.asker() as asker:
                asker.ask(model)
            return
        except AnswerError:
            if time.monotonic() > deadline:
                raise
        time.sleep(1)


@dataclass(frozen=True)
class Hosted:
    """An endpoint that is in service, and what it is asked."""

    local: LocalSageMaker
    body: bytes
    body_file: Path

    path = f"/endpoints/{ENDPOINT}/invocations"

    def asker(self) -> Asker:
        return Asker(self.local.url, self.path, self.body)

    def direct(self, model: str) -> tuple[str, str]:
        """URL and path of the container that has the model."""
        for instance in self.instances():
            for copy in instance["models"]:
                if copy["name"] == model:
                    return instance["url"], f"/models/{copy['key']}/invoke"
        raise ServerError(f"no instance has {model}")

    def instances(self) -> list[dict[str, Any]]:
        (endpoint,) = json.loads(self._get("state"))["endpoints"]
        return [instance for variant in endpoint["variants"] for instance in variant["instances"]]

    def total(self, series: str) -> float:
        """Over all models, from the emulator's own metrics."""
        pattern = rf"^polyhost_{series}\{{.*\}} (\S+)$"
        return sum(float(value) for value in re.findall(pattern, self._get("metrics"), re.MULTILINE))

    def _get(self, name: str) -> str:
        with urllib.request.urlopen(f"{self.local.page}{name}", timeout=TIMEOUT_S) as response:
            return str(response.read(), "utf-8")


@contextmanager
def hosting(
    shelf: Shelf, front: str, instance_type: str, instances: int, models: int, *options: str
) -> Iterator[Hosted]:
    """An emulator with one endpoint, and `models` equal archives in its bucket. `front`: its containers' front end."""
    with tempfile.TemporaryDirectory(prefix="polyhost-bench-") as folder, emulating(Path(folder), *options) as local:
        s3, sagemaker = local.client("s3"), local.client("sagemaker")
        s3.create_bucket(Bucket=BUCKET)
        content = _archive(shelf, KIND)
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
        yield Hosted(local, shelf.body(KIND).read_bytes(), shelf.body(KIND))


def name_of(number: int) -> str:
    return f"model-{number:03d}.tar.gz"


def _archive(shelf: Shelf, kind: Kind) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        tar.add(shelf.model(kind), arcname=".")
    return content.getvalue()


def overhead(shelf: Shelf, effort: Effort, front: str) -> list[Row]:
    """One client, in turns through the emulator and straight to the container, so that both see the same machine."""
    with hosting(shelf, front, "ml.m5.large", 1, 1) as hosted:
        model = name_of(0)
        warm_up(hosted, 1)
        with hosted.asker() as through, Asker(*hosted.direct(model), hosted.body) as direct:
            _calls(through, model, effort.calls)
            _calls(direct, model, effort.calls)
            ours: list[float] = []
            theirs: list[float] = []
            for _ in range(effort.rounds):
                theirs += _calls(direct, model, effort.calls)
                ours += _calls(through, model, effort.calls)
        added = (median(ours) - median(theirs)) * 1e3
        _load(hosted.local.url, hosted.path, hosted, WARM_UP_S)
        held = _load(hosted.local.url, hosted.path, hosted, effort.seconds)
        straight = _load(*hosted.direct(model), hosted, effort.seconds)
    return [
        Row("p50, one client: the container alone", median(theirs) * 1e3, "ms"),
        Row("p50, one client: through the emulator", median(ours) * 1e3, "ms"),
        Row("added at p50", added, "ms", "≤ 2 ms", added <= 2),
        Row(f"{CLIENTS} clients: the container alone", straight["requests"] / straight["seconds"], "/s"),
        _held(held["requests"] / held["seconds"]),
        Row(f"{CLIENTS} clients, p99: through the emulator", held["p99_ms"], "ms"),
    ]


def _held(per_second: float) -> Row:
    return Row(f"{CLIENTS} clients: through the emulator", per_second, "/s", "≥ 800/s", per_second >= 800)


def _calls(asker: Asker, model: str, count: int) -> list[float]:
    return [asker.ask(model) for _ in range(count)]


def _load(url: str, path: str, hosted: Hosted, seconds: float) -> dict[str, float]:
    """By another process: wrk where the machine has it, else the generator of our own."""
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
        raise AnswerError(f"of {figures['requests']} requests of {path}, {figures['errors']} failed")
    return figures


def crowd(shelf: Shelf, effort: Effort, front: str, scale: float) -> list[Row]:
    """Models at random on two instances that have no room for all of them."""
    with hosting(shelf, front, CROWDED_TYPE, 2, effort.models, "--memory-scale", str(scale)) as hosted:
        warm_up(hosted, CLIENTS)
        hits, unloads = hosted.total("model_cache_hits_total"), hosted.total("model_unloading_seconds_count")
        start = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as threads:
            shares = list(threads.map(lambda seed: _ask_at_random(hosted, effort, seed), range(CLIENTS)))
        took = time.perf_counter() - start
        asked = sum(len(times) for times, _ in shares)
        cold = asked - (hosted.total("model_cache_hits_total") - hits)
        unloaded = hosted.total("model_unloading_seconds_count") - unloads
        instances = hosted.instances()
    errors = [error for _, failed in shares for error in failed]
    for error in errors[:5]:
        print(f"failed: {error}", file=sys.stderr)
    times = [seconds for seconds_of_one, _ in shares for seconds in seconds_of_one]
    what = f"{effort.models} models at random on 2 instances"
    limit = instances[0]["memory_limit"] / 2**20
    return [
        Row(f"{what}: memory of each", limit, "MiB"),
        Row(f"{what}: calls", asked + len(errors), ""),
        Row(f"{what}: errors", len(errors), "", "0", not errors),
        Row(f"{what}: cold share", 100 * cold / max(1, asked), "%"),
        Row(f"{what}: evictions", unloaded, ""),
        Row(f"{what}: loaded at the end", sum(len(instance["models"]) for instance in instances), ""),
        Row(f"{what}: containers started anew", sum(instance["restarts"] for instance in instances), ""),
        Row(f"{what}: calls per second", asked / took, "/s"),
        Row(f"{what}: p50", median(times) * 1e3 if times else 0.0, "ms"),
    ]


def _ask_at_random(hosted: Hosted, effort: Effort, seed: int) -> tuple[list[float], list[str]]:
    chance = random.Random(seed)
    times, errors = [], []
    with hosted.asker() as asker:
        for _ in range(effort.random_calls // CLIENTS):
            try:
                times.append(asker.ask(name_of(chance.randrange(effort.models))))
            except (AnswerError, OSError, http.client.HTTPException) as error:
                errors.append(str(error))
    return times, errors


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench-emulator", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few samples, short runs: to try, not to publish")
    parser.add_argument("--only", choices=("overhead", "crowd"), help="one of the two parts")
    parser.add_argument("--memory-scale", type=float, default=0.15, help="of the crowded instances (8 GiB); 0.15")
    parser.add_argument("--front", choices=("mms", "native"), default="mms", help="the containers' front end; mms")
    parser.add_argument("--json", type=Path, help="where the results go")
    given = parser.parse_args(arguments)
    effort = QUICK if given.quick else FULL
    shelf = Shelf(ROOT / "build" / "bench-models")
    subprocess.run([sys.executable, "-m", "benchmarks.models", str(shelf.folder)], cwd=ROOT, check=True)
    parts: dict[str, Callable[[], list[Row]]] = {
        "overhead": lambda: overhead(shelf, effort, given.front),
        "crowd": lambda: crowd(shelf, effort, given.front, given.memory_scale),
    }
    rows = [row for name, part in parts.items() if given.only in (None, name) for row in part()]
    Console(width=None if sys.stdout.isatty() else 120).print(_table(rows))
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False) + "\n")
    return 1 if any(row.met is False for row in rows) else 0


def _table(rows: Sequence[Row]) -> Table:
    words = {True: "[green]met[/green]", False: "[red]missed[/red]", None: ""}
    table = Table("", "", "target", "", box=None)
    table.columns[1].justify = "right"
    for row in rows:
        digits = 0 if row.value >= 100 or not row.unit else 1
        table.add_row(row.what, f"{row.value:,.{digits}f} {row.unit}", row.target, words[row.met])
    return table


if __name__ == "__main__":
    # SIGTERM unwinds like Ctrl-C, so that it too ends the emulator.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
