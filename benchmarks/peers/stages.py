"""What is measured of each server: start, cold model, hot model, and memory with many models."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.available_memory import available_now_mb, settled_mb
from benchmarks.effort import Effort
from benchmarks.load import LoadTest
from benchmarks.models import Copy, Kind, Shelf, copies
from benchmarks.peers.peer import PeerError
from benchmarks.peers.server import PeerClient, PeerServer
from benchmarks.peers.usage import cpu_ms, memory_mb

CLIENTS = 8
_DENSITY_S = 300.0
_LEAST_AVAILABLE_MB = 2500.0  # what other programs on the machine may need meanwhile
_TOLERANCE = 1e-4  # of floats that another version of a library may add up in another order


@dataclass(frozen=True)
class PeerContext:
    """A server with the models of one kind, and what these predict."""

    server: PeerServer
    client: PeerClient
    shelf: Shelf
    effort: Effort
    expected: Any

    @property
    def kind(self) -> Kind:
        return self.server.place.kind

    @property
    def rows(self) -> bytes:
        return self.shelf.body(self.kind).read_bytes()

    @contextmanager
    def fresh_copies(self, count: int) -> Iterator[list[Copy]]:
        """Make copies that no server has seen; remove them when the block ends."""
        place = self.server.place
        made = copies(self.shelf, self.kind, place.models_dir, count)
        try:
            for copy in made:
                self.server.peer.prepare(place, copy)
            yield made
        finally:
            for copy in made:
                copy.remove()

    def first_answer_ms(self, copy: Copy) -> float:
        """Load a model and get its first answer. Raise PeerError if this is not what the model predicts."""
        peer, rows = self.server.peer, self.rows
        self.client.reconnect()
        start = time.perf_counter()
        load = peer.load(self.server.place, copy)
        if load is not None:
            self.client.call(load)
        response = self.client.call(peer.infer(copy, rows))
        took = time.perf_counter() - start
        self._check(response)
        return took * 1000

    def unload(self, copy: Copy) -> None:
        call = self.server.peer.unload(copy)
        if call is not None:
            self.client.reconnect()
            self.client.call(call)

    def _check(self, response: bytes) -> None:
        found = self.server.peer.prediction(response)
        if not _close(found, self.expected):
            raise PeerError(f"{self.server.peer.name} predicts {found!r:.200}, the model itself {self.expected!r:.200}")


def startup(context: PeerContext) -> dict[str, float]:
    """Measure a server that has just become ready."""
    ready = time.perf_counter()
    with context.fresh_copies(1) as (copy,):
        copied = time.perf_counter() - ready  # does not count: the model lies there before the server starts
        context.first_answer_ms(copy)
        answer = time.perf_counter() - context.server.started - copied
        cpu = cpu_ms(context.server)
        context.unload(copy)
    return {"ready_ms": (ready - context.server.started) * 1000, "first_answer_ms": answer * 1000, "cpu_ms": cpu}


def cold(context: PeerContext) -> dict[str, float]:
    samples = context.effort.samples
    with context.fresh_copies(samples) as models:
        before = cpu_ms(context.server)
        times = [context.first_answer_ms(copy) for copy in models]
        cpu = cpu_ms(context.server) - before
        for copy in models:
            context.unload(copy)
    return {"first_answer_ms": median(times), "cpu_ms": cpu / samples}


def hot(context: PeerContext) -> dict[str, float]:
    with context.fresh_copies(1) as (copy,):
        context.first_answer_ms(copy)
        call = context.server.peer.infer(copy, context.rows)
        body_file = context.server.place.folder / "request.body"
        body_file.write_bytes(call.body)
        header = ": ".join(call.header) if call.header else ""
        seconds = context.effort.seconds
        test = LoadTest(context.server, copy, body_file, CLIENTS, seconds, path=call.path, header=header)
        test.warm_up()
        before = cpu_ms(context.server)
        found = test.run()
        cpu = (cpu_ms(context.server) - before) / (found.per_second * seconds)
        context.unload(copy)
    return {"per_second": found.per_second, "p50_ms": found.p50_ms, "p99_ms": found.p99_ms, "cpu_ms": cpu}


def density(context: PeerContext) -> dict[str, float]:
    """Load many models, fewer if time or memory runs short, and compare the memory of all the server's processes."""
    with context.fresh_copies(context.effort.copies + 1) as (first, *others):
        context.first_answer_ms(first)  # what the server itself needs once counts for no model
        before = settled_mb(lambda: memory_mb(context.server))
        deadline = time.monotonic() + _DENSITY_S
        loaded = [first]
        for copy in others:
            if time.monotonic() > deadline or available_now_mb() < _LEAST_AVAILABLE_MB:
                break
            context.first_answer_ms(copy)
            loaded.append(copy)
        after = settled_mb(lambda: memory_mb(context.server))
        for copy in loaded:
            context.unload(copy)
    models = len(loaded) - 1
    if not models:
        raise PeerError("too little time or memory for a second model")
    return {"per_model_mb": (after - before) / models, "total_mb": after, "models": models}


STAGES: Mapping[str, Callable[[PeerContext], dict[str, float]]] = {
    "startup": startup,
    "cold": cold,
    "hot": hot,
    "density": density,
}


def _close(found: Any, expected: Any) -> bool:
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(_close, found, expected))
    numbers = isinstance(found, int | float) and isinstance(expected, int | float)
    return numbers and math.isclose(found, expected, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
