"""Three containers behind a real Envoy with the shipped configuration, and 300 models of which each has its replica."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config

from benchmarks.many_machines import proxy
from benchmarks.many_machines.calls import Call, replicas_of, send_in_turn, zipf
from benchmarks.many_machines.models import REPLICA, make_store
from benchmarks.many_machines.proxy import Proxy
from tests.support.container import ContainerProcess
from tests.support.model_store import TARGET, archive_of, put
from tests.support.processes import is_alive
from tests.support.waiting import until, wait_for

MODELS = 300
CLIENTS = 3  # so few that bounded load never sends a call to a second replica, also of four
HOT_CLIENTS = 16
SLOW = """
import time
from os import environ
def model_fn(d): return 1
def transform_fn(m, b, c, a):
    time.sleep(0.3)
    return "slow.tar.gz " + environ["BENCH_REPLICA"], "text/plain"
"""
COUNTS = """
runs = 0
def model_fn(d): return 1
def transform_fn(m, b, c, a):
    global runs
    runs += 1
    if b == b"fail":
        raise RuntimeError("as asked")
    return str(runs), "text/plain"
"""


class Fleet:
    """Replicas of one store, by name, and the proxy in front of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.names = make_store(self.store, MODELS)
        self.replicas: dict[str, ContainerProcess] = {}
        self.ports: dict[str, int] = {}

    def start(self, name: str) -> ContainerProcess:
        """Start a replica; one that has run before gets its port and its disk again."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        settings = {
            "SAGEMAKER_MULTI_MODEL": "",
            "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
            "POLYHOST_HOST": "127.0.0.1",
            "POLYHOST_MODEL_STORE": str(self.store),
            "POLYHOST_STATE_DIR": str(folder / "state"),
            "POLYHOST_STORE_CHECK_SECONDS": "0",
            "POLYHOST_ZYGOTES": "bare",
            REPLICA: name,
        }
        if name in self.ports:
            settings["SAGEMAKER_BIND_TO_PORT"] = str(self.ports[name])
        container = ContainerProcess(folder / "ml", folder / "container.log", "native", **settings)
        self.replicas[name], self.ports[name] = container, container.port
        return container.wait_until_up()

    def stop(self) -> None:
        for container in self.replicas.values():
            if container.process.poll() is None:
                descendants = container.processes()
                container.stop()
                assert not [process for process in descendants if is_alive(process)]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    if reason := proxy.missing():
        pytest.skip(reason)
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    try:
        for name in ("r1", "r2", "r3"):
            fleet.start(name)
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture(scope="module")
def envoy(fleet: Fleet) -> Iterator[Proxy]:
    envoy = Proxy(fleet.folder, fleet.ports)
    try:
        envoy.start()
        wait_for(lambda: envoy.healthy() == set(fleet.ports.values()), "all replicas healthy")
        yield envoy
    finally:
        envoy.stop()


@pytest.fixture(scope="module")
def home(fleet: Fleet, envoy: Proxy) -> dict[str, str]:
    """Call each model once, and return the replica that each belongs to."""
    return homes(all_answered(called(envoy, fleet.names)))


def called(envoy: Proxy, names: Iterable[str], clients: int = CLIENTS) -> list[Call]:
    return asyncio.run(send_in_turn(envoy.url, names, clients))


def called_meanwhile(envoy: Proxy, names: list[str], act: Callable[[], None]) -> list[Call]:
    """Call the models, and `act` while calls are under way."""

    async def run() -> list[Call]:
        started: list[str] = []

        def counted() -> Iterator[str]:
            for name in names:
                started.append(name)
                yield name

        calling = asyncio.create_task(send_in_turn(envoy.url, counted(), CLIENTS))
        await until(lambda: len(started) > len(names) // 4)
        await asyncio.to_thread(act)
        assert len(started) < len(names), "the calls were over too soon"
        return await calling

    return asyncio.run(run())


def all_answered(calls: list[Call]) -> list[Call]:
    """Return the calls, of which each has to be answered by the model that it names."""
    assert [call for call in calls if not call.ok or call.wrong] == []
    return calls


def homes(calls: list[Call]) -> dict[str, str]:
    """Return the replica of each model, which has to be one."""
    found = replicas_of(calls)
    assert {model: replicas for model, replicas in found.items() if len(replicas) > 1} == {}
    return {model: replica for model, (replica,) in found.items()}


def resident(container: ContainerProcess) -> set[str]:
    """Return the models that the replica has loaded."""
    names: set[str] = set()
    page = ""
    while True:
        answer = container.http.get("/models", params={"limit": 100, **({"next_page_token": page} if page else {})})
        names |= {model["modelName"] for model in answer.json()["models"]}
        page = answer.json().get("nextPageToken", "")
        if not page:
            return names


def test_each_model_is_resident_on_one_replica(fleet: Fleet, envoy: Proxy, home: dict[str, str]) -> None:
    again = homes(all_answered(called(envoy, zipf(fleet.names, 300, seed=1))))
    assert again.items() <= home.items()
    held = Counter(model for container in fleet.replicas.values() for model in resident(container))
    assert {name: held[name] for name in fleet.names} == dict.fromkeys(fleet.names, 1)
    shares = Counter(home.values())
    assert len(shares) == 3 and min(shares.values()) > MODELS / 5


def test_hot_model_gets_a_second_replica_while_it_is_hot(fleet: Fleet, envoy: Proxy) -> None:
    put(fleet.store, "slow.tar.gz", archive_of("empty", inference__py=SLOW))
    (own,) = replicas_of(all_answered(called(envoy, ["slow.tar.gz"])))["slow.tar.gz"]
    hot = replicas_of(all_answered(called(envoy, ["slow.tar.gz"] * 3 * HOT_CLIENTS, HOT_CLIENTS)))["slow.tar.gz"]
    assert own in hot and len(hot) >= 2
    assert homes(all_answered(called(envoy, ["slow.tar.gz"] * 3, clients=1))) == {"slow.tar.gz": own}


def test_killed_replica_costs_calls_in_flight_only(fleet: Fleet, envoy: Proxy, home: dict[str, str]) -> None:
    killed: list[float] = []

    def kill() -> None:
        fleet.replicas["r2"].kill()
        killed.append(time.monotonic())

    calls = called_meanwhile(envoy, zipf(fleet.names, 500, seed=2), kill)
    try:
        assert [call for call in calls if call.wrong] == []
        failed = [call for call in calls if not call.ok]
        assert all(home[call.model] == "r2" and call.sent < killed[0] for call in failed), envoy.log()
        assert len(failed) <= 2 * CLIENTS, failed
        wait_for(lambda: fleet.ports["r2"] not in envoy.healthy(), "the killed replica out of service")
        now = homes(all_answered(called(envoy, fleet.names)))
        assert set(now.values()) == {"r1", "r3"}
        moved = {model for model in fleet.names if now[model] != home[model]}
        assert moved == {model for model in fleet.names if home[model] == "r2"}
    finally:
        returned = fleet.start("r2")
        wait_for(lambda: fleet.ports["r2"] in envoy.healthy(), "the replica back in service")
    # It has its models again, and from its own disk.
    assert homes(all_answered(called(envoy, fleet.names))) == home
    assert returned.metric("polyhost_downloads_total") == 0


def test_fourth_replica_takes_its_share_and_no_call_fails(fleet: Fleet, envoy: Proxy, home: dict[str, str]) -> None:
    fleet.start("r4")
    three = {name: port for name, port in fleet.ports.items() if name != "r4"}
    try:
        all_answered(called_meanwhile(envoy, zipf(fleet.names, 300, seed=3), lambda: envoy.replace(fleet.ports)))
        wait_for(lambda: fleet.ports["r4"] in envoy.healthy(), "the fourth replica in service")
        now = homes(all_answered(called(envoy, fleet.names)))
        moved = [model for model in fleet.names if now[model] != home[model]]
        assert MODELS / 6 < Counter(now.values())["r4"] <= len(moved) <= MODELS / 3
    finally:
        all_answered(called_meanwhile(envoy, zipf(fleet.names, 300, seed=4), lambda: envoy.replace(three)))
        wait_for(lambda: envoy.healthy() == set(three.values()), "three replicas in service")
    assert homes(all_answered(called(envoy, fleet.names))) == home


def test_client_cannot_have_a_call_executed_twice(fleet: Fleet, envoy: Proxy) -> None:
    put(fleet.store, "counts.tar.gz", archive_of("empty", inference__py=COUNTS))
    headers = {TARGET: "counts.tar.gz", "Content-Type": "text/plain"}
    with httpx.Client(base_url=envoy.url, timeout=90, trust_env=False) as http:
        steering = {"X-Envoy-Retry-On": "5xx", "x-envoy-max-retries": "3"}
        assert http.post("/invocations", content=b"fail", headers=headers | steering).status_code == 500
        assert http.post("/invocations", content=b"", headers=headers).text == "2"


@pytest.mark.parametrize("path", ["/models", "/models/m1.tar.gz/invoke", "/metrics", "/"])
def test_proxy_takes_invocations_only(envoy: Proxy, path: str) -> None:
    response = httpx.post(f"{envoy.url}{path}", json={}, timeout=90, trust_env=False)
    assert (response.status_code, response.json()["type"]) == (404, "NoRouteError")
    assert TARGET in response.json()["message"]


def test_errors_are_the_replicas(envoy: Proxy) -> None:
    for headers, status in (({TARGET: "none.tar.gz"}, 404), ({TARGET: "../m1.tar.gz"}, 400), ({}, 400)):
        response = httpx.post(f"{envoy.url}/invocations", json={}, headers=headers, timeout=90, trust_env=False)
        assert response.status_code == status, response.text
        assert response.json()["type"] and not [name for name in response.headers if name.startswith("x-envoy")]


def test_boto3_works_through_the_proxy(fleet: Fleet, envoy: Proxy) -> None:
    put(fleet.store, "echo.tar.gz", archive_of("echo"))
    with runtime(envoy) as client:
        body = b'"' + b"x" * 6_000_000 + b'"'
        arguments = {"EndpointName": "any", "TargetModel": "echo.tar.gz", "ContentType": "application/json"}
        assert client.invoke_endpoint(**arguments, Body=body)["Body"].read() == body


@contextmanager
def runtime(envoy: Proxy) -> Iterator[Any]:
    client = boto3.client(
        "sagemaker-runtime",
        endpoint_url=envoy.url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with closing(client):
        yield client
