"""What it costs to name models of a store instead of loading them by hand: cold models, and the path to a loaded one.

    python -m benchmarks.model_store [--models 40] [--seconds 5] [--fronts native,mms]

Cold: the first response of a model, by a load request and an invocation, as SageMaker makes them; by name from an
archive that is unpacked already; by name from one that is not, in a folder and in an S3 on this machine. Beside the
medians: by how much a name takes longer than load and invocation, as the median of the differences of neighbours in
time; of S3, without the time that the container took to fetch and unpack, and without a plain download. Hot: a
handler that returns at once, by path and by name. The rounds take turns, so that a busy machine meets all sides.
"""

import argparse
import json
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import boto3

from benchmarks.servers import BenchServer, Stack, native, polyhost, running
from polyhost.processes import ServerProcess, free_port

TARGET = "X-Amzn-SageMaker-Target-Model"
_SCRIPT = "def model_fn(d): return 1\ndef transform_fn(m, b, c, a): return b, 'application/json'\n"
_BODY = b'{"a": 1}'
_CLIENTS = 8
_WARM_UP_S = 2
_PAIRS = 2000
_BUCKET = "models"
# One worker: while MMS's are added and removed, an invocation can be lost.
_SETTINGS = {"POLYHOST_ZYGOTES": "bare", "SAGEMAKER_MODEL_SERVER_WORKERS": "1"}


@dataclass(frozen=True)
class Request:
    """A way to invoke one model."""

    path: str
    target: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json", **({TARGET: self.target} if self.target else {})}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.model_store")
    parser.add_argument("--models", type=int, default=40)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--fronts", default="native,mms")
    options = parser.parse_args()
    found = {}
    for front in options.fronts.split(","):
        stack = {"native": native, "mms": polyhost}[front]
        with tempfile.TemporaryDirectory(prefix="bench-store-", dir="/var/tmp") as folder:
            cold = _cold(stack(**_SETTINGS), Path(folder), options.models, front)
            found[front] = {"cold_ms": cold, "hot": _hot(stack(**_SETTINGS), Path(folder), options.seconds, front)}
        print(json.dumps({front: found[front]}, indent=2), flush=True)


def _cold(stack: Stack, folder: Path, count: int, front: str) -> dict[str, float]:
    """Return medians in milliseconds."""
    store, state = folder / "store", folder / "state"
    store.mkdir()
    names = [f"m{number}.tar.gz" for number in range(count + 1)]  # the first warms up
    for name in names:
        _archive(store / name)
    times: dict[str, list[float]] = {}

    def add(kind: str, milliseconds: float) -> None:
        times.setdefault(kind, []).append(milliseconds)

    requests = [Request("/invocations", name) for name in names]
    with _running_store(stack, store, state, front) as server:
        for request in requests:
            add("by name, packed", _timed(server, request))
    with (
        running(stack) as plain,
        _running_store(stack, store, state, front) as server,
        _s3(folder, store) as (bucket, variables),
        _running_store(stack, f"s3://{_BUCKET}/", folder / "s3-state", front, variables) as from_s3,
    ):
        for number, request in enumerate(requests):
            add("load and invocation", _by_hand(plain, f"m{number}"))
            add("by name, unpacked", _timed(server, request))
            before = _fetch_ms(from_s3)
            add("by name, S3", _timed(from_s3, request))
            add("fetching and unpacking in that", _fetch_ms(from_s3) - before)
            start = perf_counter()
            bucket.get_object(Bucket=_BUCKET, Key=request.target)["Body"].read()
            add("a plain download", (perf_counter() - start) * 1e3)
    return {kind: median(values[1:]) for kind, values in times.items()} | _differences(times)


def _differences(times: dict[str, list[float]]) -> dict[str, float]:
    by_hand = times["load and invocation"][1:]
    unpacked = zip(times["by name, unpacked"][1:], by_hand, strict=True)
    from_s3 = list(zip(times["by name, S3"][1:], times["fetching and unpacking in that"][1:], by_hand, strict=True))
    downloads = times["a plain download"][1:]
    return {
        "more than by hand and a plain download: S3": median(
            named - hand - plain for (named, _, hand), plain in zip(from_s3, downloads, strict=True)
        ),
        "more than by hand: unpacked": median(named - hand for named, hand in unpacked),
        "more than by hand: S3 without fetching": median(named - fetch - hand for named, fetch, hand in from_s3),
    }


def _hot(stack: Stack, folder: Path, seconds: int, front: str) -> dict[str, dict[str, float]]:
    """Return requests per second of eight clients, and what a request of one client takes."""
    name = "m0.tar.gz"
    found: dict[str, dict[str, float]] = {}
    with running(stack) as plain, _running_store(stack, folder / "store", folder / "state", front) as server:
        _by_hand(plain, "m0")
        ways = {
            "by path, no store": (plain, Request("/models/m0/invoke")),
            "by name": (server, Request("/invocations", name)),
            "by AWS's runtime API": (server, Request("/endpoints/any/invocations", name)),
        }
        for one, request in ways.values():
            _timed(one, request)
            _wrk(one, request, _CLIENTS, _WARM_UP_S)
        for way, (one, request) in ways.items():
            found[way] = {"requests_per_second": _wrk(one, request, _CLIENTS, seconds)}
        for way, latencies in _latencies(ways).items():
            ordered = sorted(latencies)
            found[way] |= {"p10_us": ordered[len(ordered) // 10], "p50_us": ordered[len(ordered) // 2]}
    return found


def _latencies(ways: dict[str, tuple[BenchServer, Request]]) -> dict[str, list[float]]:
    """Return microseconds of one client's requests, the ways in turns."""
    found: dict[str, list[float]] = {way: [] for way in ways}
    connections = {way: HTTPConnection("127.0.0.1", server.port, timeout=120) for way, (server, _) in ways.items()}
    for _ in range(_PAIRS):
        for way, (_, request) in ways.items():
            start = perf_counter()
            _send(connections[way], request.path, _BODY, request.headers)
            found[way].append((perf_counter() - start) * 1e6)
    for connection in connections.values():
        connection.close()
    return found


@contextmanager
def _running_store(
    stack: Stack, store: Path | str, state: Path, front: str, variables: Mapping[str, str] | None = None
) -> Iterator[BenchServer]:
    state.mkdir(exist_ok=True)
    settings = {
        "POLYHOST_MODEL_STORE": str(store),
        "POLYHOST_STORE_CHECK_SECONDS": "0",
        "POLYHOST_STATE_DIR": str(state),
        "POLYHOST_FRONTEND": front,
        **(variables or {}),
    }
    with running(Stack(stack.name, stack.command, {**stack.environ, **settings})) as server:
        yield server


@contextmanager
def _s3(folder: Path, store: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """Run an S3 with the archives in a bucket; yield a client, and the variables by which a container finds it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = ServerProcess(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], folder / "s3.log"
    )
    variables = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    try:
        process.wait_until(lambda: _listens(port))
        client.create_bucket(Bucket=_BUCKET)
        for path in sorted(store.iterdir()):
            client.put_object(Bucket=_BUCKET, Key=path.name, Body=path.read_bytes())
        yield client, variables | {"AWS_ENDPOINT_URL_S3": url}
    finally:
        process.stop()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _fetch_ms(server: BenchServer) -> float:
    """Return the time that the container has taken to fetch and unpack archives."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=120)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found = re.search(r"^polyhost_download_seconds_total (\S+)$", text, re.MULTILINE)
    assert found is not None, text
    return float(found[1]) * 1e3


def _by_hand(server: BenchServer, name: str) -> float:
    folder = server.models_dir / name / "model"
    folder.mkdir(parents=True)
    (folder / "inference.py").write_text(_SCRIPT)
    start = perf_counter()
    _exchange(server, "/models", json.dumps({"model_name": name, "url": str(folder)}).encode())
    _exchange(server, f"/models/{name}/invoke", _BODY)
    return (perf_counter() - start) * 1e3


def _timed(server: BenchServer, request: Request) -> float:
    start = perf_counter()
    _exchange(server, request.path, _BODY, request.headers)
    return (perf_counter() - start) * 1e3


def _exchange(server: BenchServer, path: str, body: bytes, headers: dict[str, str] | None = None) -> None:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=120)
    _send(connection, path, body, headers or {"Content-Type": "application/json"})
    connection.close()


def _send(connection: HTTPConnection, path: str, body: bytes, headers: dict[str, str]) -> None:
    connection.request("POST", path, body, headers)
    response = connection.getresponse()
    text = response.read()
    if response.status != 200:
        raise RuntimeError(f"{response.status} from {path}: {text[:500].decode(errors='replace')}")


def _wrk(server: BenchServer, request: Request, clients: int, seconds: int) -> float:
    """Return requests per second."""
    if shutil.which("wrk") is None:
        raise SystemExit("benchmarks.model_store: no wrk on PATH; install it")
    with tempfile.NamedTemporaryFile(suffix=".json") as body:
        body.write(_BODY)
        body.flush()
        environ = {"BODY_FILE": body.name, "CONTENT_TYPE": "application/json", "PATH": "/usr/bin:/bin:/usr/local/bin"}
        if request.target:
            environ["TARGET_MODEL"] = request.target
        script = str(Path(__file__).parent / "wrk.lua")
        url = f"http://127.0.0.1:{server.port}{request.path}"
        command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s", "-s", script, url]
        done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True, timeout=seconds + 60)
    figures = json.loads(done.stdout.splitlines()[-1])
    if figures["errors"]:
        raise RuntimeError(f"{figures['errors']} of {figures['requests']} requests failed")
    return float(figures["requests"] / figures["seconds"])


def _archive(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, tarfile.open(path, "w:gz") as tar:
        script = Path(folder) / "inference.py"
        script.write_text(_SCRIPT)
        tar.add(script, arcname="inference.py")


if __name__ == "__main__":
    main()
