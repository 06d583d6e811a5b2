"""Calls by TargetModel, many at once, each with what became of it."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import httpx

from polyhost.runtime_api.headers import TARGET_MODEL

_TIMEOUT_S = 120.0
LOST = 0
"""The status of a call that got no response."""


@dataclass(frozen=True)
class Call:
    """A call and its response; `sent` by time.monotonic()."""

    model: str
    status: int
    text: str
    sent: float
    seconds: float

    @property
    def ok(self) -> bool:
        return self.status == httpx.codes.OK

    @property
    def wrong(self) -> bool:
        """Whether another model than the one that was named has answered, which must never be."""
        return self.ok and self.text.split(" ")[0] != self.model

    @property
    def replica(self) -> str:
        """The replica that has answered."""
        return self.text.split(" ")[1] if self.ok else ""


def zipf(names: Sequence[str], count: int, seed: int, exponent: float = 1.0) -> list[str]:
    """Choose names with Zipf's distribution: the second is called half as often as the first, and so on."""
    chance = random.Random(seed)
    ranked = random.Random(0).sample(names, len(names))  # which is the most wanted does not depend on the seed
    return chance.choices(ranked, [rank**-exponent for rank in range(1, len(ranked) + 1)], k=count)


def replicas_of(calls: Iterable[Call]) -> dict[str, set[str]]:
    """Return the replicas that have answered for each model."""
    found: dict[str, set[str]] = defaultdict(set)
    for call in calls:
        if call.ok:
            found[call.model].add(call.replica)
    return found


async def send_in_turn(url: str, names: Iterable[str], clients: int) -> list[Call]:
    """Call the models; each client sends its next call when it has the response to the last."""
    left = iter(names)
    calls: list[Call] = []

    async def one_client(http: httpx.AsyncClient) -> None:
        for name in left:
            calls.append(await _send(http, name))

    async with _client(url) as http:
        await asyncio.gather(*(one_client(http) for _ in range(clients)))
    return calls


def scheduled(count: int, per_second: float, seed: int) -> list[float]:
    """Return the seconds between calls at random times, as independent clients make them."""
    chance = random.Random(seed)
    return [chance.expovariate(per_second) for _ in range(count)]


async def send_at_rate(url: str, names: Sequence[str], per_second: float, seed: int) -> list[Call]:
    """Call the models at random times, whatever becomes of earlier calls, as independent clients do."""
    due = time.monotonic()
    running = []
    async with _client(url) as http, asyncio.TaskGroup() as group:
        for name, pause in zip(names, scheduled(len(names), per_second, seed), strict=True):
            due += pause
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            running.append(group.create_task(_send(http, name)))
    return [task.result() for task in running]


def _client(url: str) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    return httpx.AsyncClient(base_url=url, timeout=_TIMEOUT_S, trust_env=False, limits=limits)


async def _send(http: httpx.AsyncClient, name: str) -> Call:
    headers = {TARGET_MODEL: name, "Content-Type": "application/json"}
    sent = time.monotonic()
    try:
        response = await http.post("/invocations", content=b"{}", headers=headers)
        status, text = response.status_code, response.text
    except httpx.HTTPError as error:
        status, text = LOST, repr(error)
    return Call(name, status, text, sent, time.monotonic() - sent)
