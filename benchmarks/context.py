"""What every stage gets: the server to measure, the models, and the effort to make."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.client import MeasuringClient
from benchmarks.effort import Effort
from benchmarks.models import Copy, Kind, Shelf, copies
from benchmarks.servers import BenchServer


@dataclass(frozen=True)
class Context:
    """The server, the models and the effort of one stage."""

    server: BenchServer
    shelf: Shelf
    effort: Effort

    @contextmanager
    def fresh_copies(self, kind: Kind, count: int) -> Iterator[list[Copy]]:
        """Make copies that no server has seen; remove them when the block ends."""
        made = copies(self.shelf, kind, self.server.models_dir, count)
        try:
            yield made
        finally:
            for copy in made:
                copy.remove()

    def body(self, kind: Kind) -> bytes:
        return self.shelf.body(kind).read_bytes()


def timed_first_response(client: MeasuringClient, copy: Copy, body: bytes) -> tuple[float, float]:
    """Return the milliseconds of the load request, and of load and first response together."""
    start = time.perf_counter()
    client.load(copy)
    loaded = time.perf_counter()
    client.invoke(copy, body)
    return (loaded - start) * 1000, (time.perf_counter() - start) * 1000
