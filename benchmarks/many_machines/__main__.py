"""Many models on three containers behind Envoy: consistent hashing of the model's name, and round robin beside it.

    python -m benchmarks.many_machines [--models 300] [--room 0.4] [--rate 25] [--seconds 60]

Each replica's disk has room for a part of the models (`--room`). The same Zipf-distributed calls at the same random
times go to both, after each model was called once: those of the warm-up, which do not count, and then those that are
measured. Beside that is printed what the simulation of `polyhost plan` says of the same calls, from what the replicas
have measured before. With consistent hashing, one replica is then killed while calls go on, and after that a fourth is
added.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import Machine
from benchmarks.many_machines.calls import Call, replicas_of, send_at_rate, send_in_turn, zipf
from benchmarks.many_machines.models import make_store, unpacked_bytes
from benchmarks.many_machines.prediction import predict, profile, timetable
from benchmarks.many_machines.proxy import Proxy, missing
from benchmarks.many_machines.replicas import Replica, ports, replica, replicas

_NAMES = ("r1", "r2", "r3")
_PADDING_KB = 256
_WARM_UP, _MEASURED, _WHILE_KILLED = 1, 2, 3  # seeds of the calls
_CLIENTS = 4  # of passes over all models
_WAIT_S, _POLL_S = 60.0, 0.1


@dataclass(frozen=True)
class Options:
    """The options of one run."""

    models: int
    room: float
    rate: float
    seconds: int
    warm_up: int

    @property
    def room_mb(self) -> int:
        return max(1, round(self.models * self.room * _PADDING_KB / 1024))


def main() -> None:
    options = _parse()
    if reason := missing():
        raise SystemExit(f"benchmarks.many_machines: {reason}")
    found: dict[str, Any] = {"machine": str(Machine.current()), "load_before": os.getloadavg(), **vars(options)}
    with tempfile.TemporaryDirectory(prefix="bench-many-", dir="/var/tmp") as name:
        folder = Path(name)
        names = make_store(folder / "store", options.models, _PADDING_KB * 1024)
        for way, round_robin in (("round robin", True), ("consistent hashing", False)):
            (folder / way).mkdir()
            found[way] = _measure(folder / way, folder / "store", names, options, round_robin=round_robin)
            print(f"{way}: {json.dumps(found[way])}", file=sys.stderr, flush=True)
    print(json.dumps(found, indent=2))


def _parse() -> Options:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_machines")
    parser.add_argument("--models", type=int, default=300)
    parser.add_argument("--room", type=float, default=0.4, help="the part of the models that fits on a replica")
    parser.add_argument("--rate", type=float, default=25, help="calls per second")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--warm-up", type=int, default=30, help="seconds of calls that do not count")
    return Options(**vars(parser.parse_args()))


def _measure(folder: Path, store: Path, names: Sequence[str], options: Options, *, round_robin: bool) -> dict[str, Any]:
    with ExitStack() as stack:
        fleet = stack.enter_context(replicas(_NAMES, store, folder, options.room_mb))
        proxy = Proxy(folder, ports(fleet), round_robin=round_robin)
        stack.callback(proxy.stop)
        proxy.start()
        _wait_until_healthy(proxy, fleet)
        _homes(proxy, names)
        _send(proxy, names, options, options.warm_up, _WARM_UP)
        planned = _plan(fleet, store, names, options, round_robin=round_robin)
        found = _under_load(proxy, fleet, names, options) | {"planned": planned}
        if not round_robin:
            found["killed"] = _kill_one(proxy, fleet, names, options)
            found["fourth"] = _add_one(proxy, fleet, names, store, folder, options)
    return found


def _send(proxy: Proxy, names: Sequence[str], options: Options, seconds: int, seed: int) -> list[Call]:
    chosen = zipf(names, round(options.rate * seconds), seed)
    calls = asyncio.run(send_at_rate(proxy.url, chosen, options.rate, seed))
    if wrong := [call for call in calls if call.wrong]:
        raise RuntimeError(f"{len(wrong)} wrong answers, such as {wrong[0]}")
    return calls


def _plan(
    fleet: Sequence[Replica], store: Path, names: Sequence[str], options: Options, *, round_robin: bool
) -> dict[str, Any]:
    """Predict the measured phase by the models' times until now."""
    each = [one.totals() for one in fleet]
    totals = {name: sum(of.get(name, 0.0) for of in each) for name in each[0]}
    warm_up = zipf(names, round(options.rate * options.warm_up), _WARM_UP)
    counted = zipf(names, round(options.rate * options.seconds), _MEASURED)
    calls, counted_from = timetable(names, warm_up, counted, options.rate, (_WARM_UP, _MEASURED))
    return predict(
        calls,
        counted_from,
        profile(totals, unpacked_bytes(store / names[0])),
        replicas=len(fleet),
        room_bytes=options.room_mb << 20,
        round_robin=round_robin,
    )


def _under_load(proxy: Proxy, fleet: Sequence[Replica], names: Sequence[str], options: Options) -> dict[str, Any]:
    before, used = _counters(fleet), sum(one.processor_seconds() for one in fleet)
    calls = _send(proxy, names, options, options.seconds, _MEASURED)
    after = _counters(fleet)
    hits, misses, evictions = (after[name] - before[name] for name in after)
    copies = [len(found) for found in replicas_of(calls).values()]
    return {
        "calls": len(calls),
        "failed": sum(not call.ok for call in calls),
        "hit_rate": round(hits / (hits + misses), 4),
        "evictions": evictions,
        **_percentiles(calls),
        "processor_seconds": round(sum(one.processor_seconds() for one in fleet) - used, 1),
        "models_called": len(copies),
        "models_on_several_replicas": sum(count > 1 for count in copies),
        "load_average": os.getloadavg()[0],
    }


def _kill_one(proxy: Proxy, fleet: list[Replica], names: Sequence[str], options: Options) -> dict[str, Any]:
    """Kill the second replica in the middle of some calls; tell what they and the models notice."""
    before = _homes(proxy, names)
    victim = fleet[1]
    seconds = options.warm_up

    async def run() -> tuple[list[Call], float]:
        chosen = zipf(names, round(options.rate * seconds), _WHILE_KILLED)
        calling = asyncio.create_task(send_at_rate(proxy.url, chosen, options.rate, _WHILE_KILLED))
        await asyncio.sleep(seconds / 3)
        killed = time.monotonic()
        await asyncio.to_thread(victim.kill)
        return await calling, killed

    calls, killed = asyncio.run(run())
    fleet.remove(victim)
    moved = [call for call in calls if before[call.model] == victim.name and call.sent > killed and call.ok]
    after = _homes(proxy, names)
    return {
        "calls": len(calls),
        "failed": sum(not call.ok for call in calls),
        "models_of_the_killed": sum(home == victim.name for home in before.values()),
        "models_moved": sum(after[name] != before[name] for name in names),
        "calls_of_its_models_afterwards": len(moved),
        "slowest_of_them_ms": round(max((call.seconds for call in moved), default=0.0) * 1e3),
    }


def _add_one(
    proxy: Proxy, fleet: list[Replica], names: Sequence[str], store: Path, folder: Path, options: Options
) -> dict[str, Any]:
    """Add a replica twice: in place of the killed one, and then a fourth; tell how many models the fourth has moved."""
    with ExitStack() as stack:
        for number, name in enumerate(("r2", "r4")):
            disk = folder / f"again-{number}"
            fleet.append(stack.enter_context(replica(name, store, disk, options.room_mb)))
            proxy.replace(ports(fleet))
            _wait_until_healthy(proxy, fleet)
            homes = _homes(proxy, names)
            if number == 0:
                before = homes
        moved = sum(homes[name] != before[name] for name in names)
        return {"models_moved": moved, "share_moved": round(moved / len(names), 3)}


def _homes(proxy: Proxy, names: Sequence[str]) -> dict[str, str]:
    """Call each model, few at once, and return the replica that each has."""
    calls = asyncio.run(send_in_turn(proxy.url, names, _CLIENTS))
    if failed := [call for call in calls if not call.ok or call.wrong]:
        raise RuntimeError(f"{len(failed)} calls failed, such as {failed[0]}")
    return {call.model: call.replica for call in calls}


def _wait_until_healthy(proxy: Proxy, fleet: Sequence[Replica]) -> None:
    deadline = time.monotonic() + _WAIT_S
    while proxy.healthy() != {one.port for one in fleet}:
        if time.monotonic() > deadline:
            raise RuntimeError(f"Envoy calls {proxy.healthy()}, not {ports(fleet)}")
        time.sleep(_POLL_S)


def _counters(fleet: Sequence[Replica]) -> dict[str, float]:
    each = [one.counters() for one in fleet]
    return {name: sum(counters[name] for counters in each) for name in each[0]}


def _percentiles(calls: Sequence[Call]) -> dict[str, float]:
    ordered = sorted(call.seconds * 1e3 for call in calls)
    points = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99}
    return {name: round(ordered[int(len(ordered) * point)], 1) for name, point in points.items()}


if __name__ == "__main__":
    main()
