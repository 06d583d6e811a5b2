"""Which machine a model's calls go to: consistent hashing, as a load balancer does it."""

import hashlib
from collections.abc import Sequence
from functools import cache


@cache
def order_of(model: str, machines: int, placement: int = 0) -> tuple[int, ...]:
    """Return the machines in the order in which they are tried for a model (rendezvous hashing).

    Each model has an order of its own, evenly spread, and another one in each `placement`. With one machine more, a
    model stays or moves to that one.
    """
    return tuple(sorted(range(machines), key=lambda machine: _score(placement, model, machine), reverse=True))


def first_below(order: Sequence[int], running: Sequence[int], balance_factor: float) -> int:
    """Return the first machine with fewer running calls than a factor of the mean (consistent hashing, bounded load).

    The call that is to be placed counts in the mean.
    """
    bound = balance_factor * (sum(running) + 1) / len(running)
    return next((machine for machine in order if running[machine] + 1 <= bound), order[0])


def _score(placement: int, model: str, machine: int) -> bytes:
    return hashlib.blake2b(f"{placement} {machine} {model}".encode(errors="surrogateescape"), digest_size=8).digest()
