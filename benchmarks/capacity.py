"""How far `polyhost plan` is off: a container whose memory holds part of its models, beside the simulation of it.

    python -m benchmarks.capacity [--models 60] [--room 20] [--rate 10] [--seconds 60] [--exponent 0.9]

First one container loads a few models, and /metrics says what they take: memory, cold and hot time. From these figures
the plan is made. Then a second container, with the memory for `--room` models in a control group, gets the same calls,
each at its time. Last, the plan is made again with the times that this run had, which may have met another load of the
machine. Needs root, for the control group.
"""

import argparse
import json
import statistics
import tarfile
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from http.client import HTTPConnection
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.memory_limit import MemoryLimit, memory_limit
from benchmarks.servers import BenchServer, Stack, native, running
from polyhost.planning import measured
from polyhost.planning.calls import PlannedCall, drawn, zipf_weights
from polyhost.planning.outcome import PlanOutcome, quantile
from polyhost.planning.profiles import ModelProfile, PartialProfile, Profiles
from polyhost.planning.simulation import simulate

_MB = 1 << 20
_MODEL_MB = 24
_RESERVE_MB = 96
_CONTAINER_MB = 150  # with the smallest zygote; the group's limit is this, the reserve, and the models
_CALIBRATIONS = 20
_CLIENTS = 64
_APART_S = 3600.0  # in a plan, for calls that are made one after the other
_SETTLE_S = 2.0
_MEASURED_S = 300.0
_COUNTERS = {
    "hits": "polyhost_target_hits_total",
    "misses": "polyhost_target_misses_total",
    "loads": "polyhost_store_loads_total",
    "evictions": "polyhost_evictions_total",
}
_SCRIPT = f"""
def model_fn(folder):
    return b"x" * ({_MODEL_MB} << 20)


def transform_fn(model, body, content_type, accept):
    return str(sum(model[:: len(model) // 20_000])), "application/json"
"""


@dataclass(frozen=True)
class Setup:
    """What is measured. `paced`: each call at its time; else one after the other, whatever the machine's speed."""

    models: int
    room: int
    rate: float
    seconds: float
    exponent: float
    seed: int
    paced: bool
    cores: int = 2


@dataclass(frozen=True)
class Measurement:
    """What the container did."""

    calls: int
    hit_rate: float
    loads: int
    evictions: int
    p50_s: float
    p99_s: float


@dataclass(frozen=True)
class Comparison:
    """The container's figures beside the plan's. Bytes: what the container took itself, and what it had for models.

    `profile` was measured before, `profile_of_run` in the run itself; `replanned` is the plan made from the latter.
    """

    profile: ModelProfile
    profile_of_run: ModelProfile
    own_bytes: int
    memory_bytes: int
    measured: Measurement
    planned: PlanOutcome
    replanned: PlanOutcome


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity")
    parser.add_argument("--models", type=int, default=60)
    parser.add_argument("--room", type=int, default=20)
    parser.add_argument("--rate", type=float, default=10)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--exponent", type=float, default=0.9)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(asdict(compare(Setup(**vars(options), paced=True))), indent=2))


def compare(setup: Setup) -> Comparison:
    """Plan and measure. Raises NoMemoryLimitError where a control group cannot be made."""
    names = [f"m{number}.tar.gz" for number in range(setup.models)]
    calls = list(drawn(zipf_weights(names, setup.exponent), setup.rate, setup.seconds, setup.seed))
    if not setup.paced:
        calls = [PlannedCall(number * _APART_S, call.model) for number, call in enumerate(calls)]
    with tempfile.TemporaryDirectory(prefix="bench-capacity-", dir="/var/tmp") as folder:
        store, state = Path(folder) / "store", Path(folder) / "state"
        store.mkdir()
        for name in names:
            _archive(store / name)
        profile = _calibrate(_stack(store, state), names[:_CALIBRATIONS])
        limit_bytes = (_CONTAINER_MB + _RESERVE_MB) * _MB + setup.room * profile.memory_bytes
        with memory_limit(limit_bytes) as limit, running(_stack(store, state, limit)) as server:
            # The container's own memory is what it has with a model, less that model's: it grows with the first load.
            first = PlannedCall(0.0, names[-1])
            _call(server, first.model)
            time.sleep(_SETTLE_S)
            own_bytes = limit.group.used() - profile.memory_bytes
            before = _counters(server)
            seconds = _paced(server, calls) if setup.paced else _in_turn(server, calls)
            found = _measurement(before, _counters(server), seconds)
            profile_of_run = replace(_profile(server), memory_bytes=profile.memory_bytes)
    memory_bytes = limit_bytes - _RESERVE_MB * _MB - own_bytes
    load = [first, *(PlannedCall(call.time + _APART_S, call.model) for call in calls)]
    planned, replanned = (
        simulate(
            load,
            Profiles((), PartialProfile(**asdict(one))),
            memory_bytes=memory_bytes,
            cores=setup.cores,
            machines=1,
            warm_up_s=_APART_S,
        )
        for one in (profile, profile_of_run)
    )
    return Comparison(profile, profile_of_run, own_bytes, memory_bytes, found, planned, replanned)


def _stack(store: Path, state: Path, limit: MemoryLimit | None = None) -> Stack:
    stack = native(
        POLYHOST_ZYGOTES="bare",
        POLYHOST_MODEL_STORE=str(store),
        POLYHOST_STORE_CHECK_SECONDS="0",
        POLYHOST_STATE_DIR=str(state),
        POLYHOST_UNPACK_DIR=str(state / ("calibration" if limit is None else "measurement")),
        POLYHOST_MEMORY_RESERVE_MB=str(_RESERVE_MB),
        SAGEMAKER_MODEL_SERVER_WORKERS="1",
    )
    return stack if limit is None else Stack(stack.name, limit.around(stack.command), stack.environ)


def _calibrate(stack: Stack, names: Sequence[str]) -> ModelProfile:
    """Return what one of these models takes, all being alike: the median memory, the mean times."""
    with running(stack) as server:
        for name in (*names, *names):
            _call(server, name)
        deadline = time.monotonic() + _MEASURED_S
        while missing := [name for name in names if not _metric(server, "polyhost_worker_memory_bytes", name)]:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the memory of {', '.join(missing)} was not measured within {_MEASURED_S:g} s")
            time.sleep(0.1)
        return _profile(server)


def _profile(server: BenchServer) -> ModelProfile:
    """Return the median memory of a model, and the mean times of all loads, calls and downloads.

    Not the most memory: the first model's process may be older than its zygote's warm-ups, and shares less with it.
    """
    text = _metrics(server)
    profiles = measured.read(text, "the container").profiles.values()
    memory = statistics.median_high(one.memory_bytes or 0 for one in profiles)
    totals = _totals(text)

    def mean(what: str, seconds: str) -> float:
        return totals[f"polyhost_{seconds}"] / totals[f"polyhost_{what}"]

    return ModelProfile(
        memory,
        cold_s=mean("store_loads_total", "store_load_seconds_total"),
        hot_s=mean("predict_seconds_count", "predict_seconds_sum"),
        download_s=mean("downloads_total", "download_seconds_total"),
    )


def _totals(text: str) -> dict[str, float]:
    """Return the sum of each series over all models."""
    totals: dict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            totals[sample.name] += sample.value
    return totals


def _in_turn(server: BenchServer, calls: Sequence[PlannedCall]) -> list[float]:
    return [_call(server, call.model) for call in calls]


def _paced(server: BenchServer, calls: Sequence[PlannedCall]) -> list[float]:
    """Make each call at its time, from threads; return its seconds from then on."""
    start = time.monotonic() + 1

    def late(call: PlannedCall) -> float:
        time.sleep(max(0.0, start + call.time - time.monotonic()))
        _call(server, call.model)
        return time.monotonic() - start - call.time

    with ThreadPoolExecutor(_CLIENTS) as pool:
        return list(pool.map(late, calls))


def _measurement(before: Mapping[str, float], after: Mapping[str, float], seconds: Sequence[float]) -> Measurement:
    ordered = sorted(seconds)
    counted = {name: after[name] - before[name] for name in _COUNTERS}
    return Measurement(
        calls=len(ordered),
        hit_rate=counted["hits"] / (counted["hits"] + counted["misses"]),
        loads=int(counted["loads"]),
        evictions=int(counted["evictions"]),
        p50_s=quantile(ordered, 0.5),
        p99_s=quantile(ordered, 0.99),
    )


def _counters(server: BenchServer) -> dict[str, float]:
    return {name: _metric(server, series) for name, series in _COUNTERS.items()}


def _call(server: BenchServer, name: str) -> float:
    start = time.monotonic()
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=300)) as connection:
        connection.request("POST", "/invocations", b"{}", {"X-Amzn-SageMaker-Target-Model": name})
        response = connection.getresponse()
        text = response.read()
    if response.status != 200:
        raise RuntimeError(f"{response.status} for {name}: {text[:500].decode(errors='replace')}")
    return time.monotonic() - start


def _metrics(server: BenchServer) -> str:
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=300)) as connection:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()


def _metric(server: BenchServer, name: str, model: str = "") -> float:
    """Return the sum of a series, or the value of a model's."""
    samples = (one for family in text_string_to_metric_families(_metrics(server)) for one in family.samples)
    return sum(one.value for one in samples if one.name == name and one.labels.get("model", "") == model)


def _archive(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, tarfile.open(path, "w:gz") as tar:
        script = Path(folder) / "inference.py"
        script.write_text(_SCRIPT)
        tar.add(script, arcname="inference.py")


if __name__ == "__main__":
    main()
