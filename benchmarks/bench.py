"""What every stage gets: the server to measure, the models, and how much to do."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.api import Api
from benchmarks.effort import Effort
from benchmarks.models import Copy, Kind, Shelf, copies
from benchmarks.servers import Server


@dataclass(frozen=True)
class Bench:
    server: Server
    shelf: Shelf
    effort: Effort

    @contextmanager
    def fresh(self, kind: Kind, count: int) -> Iterator[list[Copy]]:
        """Models that no server has seen; their folders go when the block is left."""
        made = copies(self.shelf, kind, self.server.models_dir, count)
        try:
            yield made
        finally:
            for copy in made:
                copy.remove()

    def body(self, kind: Kind) -> bytes:
        return self.shelf.body(kind).read_bytes()


def timed_first_answer(api: Api, copy: Copy, body: bytes) -> tuple[float, float]:
    """Milliseconds of the load call, and of it and the first answer together."""
    start = time.perf_counter()
    api.load(copy)
    loaded = time.perf_counter()
    api.invoke(copy, body)
    return (loaded - start) * 1000, (time.perf_counter() - start) * 1000
