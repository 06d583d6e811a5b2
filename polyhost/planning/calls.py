"""The load: which model is called when, drawn from a distribution."""

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

_BATCH = 10_000


class PlannedCall(NamedTuple):
    """One invocation: seconds since the start, and the model's name."""

    time: float
    model: str


def zipf_weights(names: Sequence[str], exponent: float) -> dict[str, float]:
    """Return how often each model is called beside the others: the k-th one by 1 / k ** exponent."""
    return {name: float(rank) ** -exponent for rank, name in enumerate(names, 1)}


def drawn(weights: Mapping[str, float], rate: float, seconds: float, seed: int) -> Iterator[PlannedCall]:
    """Yield calls as independent clients make them: a Poisson process, each call to a model by its weight."""
    generator = random.Random(seed)  # noqa: S311  # not for secrets
    names = list(weights)
    cumulative = list(accumulate(weights.values()))
    time = 0.0
    while True:
        for model in generator.choices(names, cum_weights=cumulative, k=_BATCH):
            time += generator.expovariate(rate)
            if time >= seconds:
                return
            yield PlannedCall(time, model)
