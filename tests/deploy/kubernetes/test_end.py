"""A replica that ends in order costs no call: real containers behind a real Envoy (docs/kubernetes.md)."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path

import httpx
import pytest

from tests.deploy.kubernetes.envoy import envoy, envoy_command
from tests.integration.test_drain import ROUTER
from tests.integration.test_faults import NATIVE
from tests.integration.test_model_store import running_store
from tests.support.container import ContainerProcess
from tests.support.model_store import TARGET, put, says
from tests.support.waiting import wait_for

MODELS = [f"model-{number}.tar.gz" for number in range(12)]


class Clients:
    """Two clients that invoke one model after the other until they are stopped, and what they were answered."""

    def __init__(self, url: str) -> None:
        self.answers: list[tuple[str, int, str]] = []  # model, status, text
        self._url = url
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self, count: int) -> None:
        wanted = len(self.answers) + count
        wait_for(lambda: len(self.answers) >= wanted, f"{count} more answers")

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=300, trust_env=False) as client:
            for name in cycle(MODELS):
                if self._stopped.is_set():
                    return
                response = client.post("/invocations", content=b"{}", headers={TARGET: name})
                self.answers.append((name, response.status_code, response.text))


@pytest.mark.parametrize("front", ["native", "mms"])
def test_no_call_fails_while_a_replica_ends(tmp_path: Path, front: str) -> None:
    command = envoy_command()
    for name in MODELS:
        put(tmp_path / "store", name, says(name))
    with ExitStack() as stack:
        replicas = [stack.enter_context(replica(tmp_path, name, front)) for name in ("one", "two")]
        ending, other = replicas
        proxy = stack.enter_context(envoy(command, tmp_path, [replica.port for replica in replicas]))
        wait_for(lambda: all(proxy.healthy(replica.port) for replica in replicas), "two healthy replicas")
        with Clients(proxy.url) as clients:
            clients.wait_for_more(5 * len(MODELS))
            assert calls_of(ending) > 0 and calls_of(other) > 0

            ending.process.terminate()
            wait_for(lambda: not proxy.healthy(ending.port), "Envoy to notice")
            clients.wait_for_more(len(MODELS))
            before = calls_of(ending)
            clients.wait_for_more(5 * len(MODELS))
            assert calls_of(ending) == before
            end(ending)
            clients.wait_for_more(5 * len(MODELS))
    assert {(status, text == name) for name, status, text in clients.answers} == {(200, True)}


@contextmanager
def replica(folder: Path, name: str, front: str) -> Iterator[ContainerProcess]:
    """Run a container that drains for longer than any machine needs; the test ends it when Envoy has turned away."""
    (folder / name).mkdir()
    with running_store(folder / name, front, folder / "store", POLYHOST_DRAIN_SECONDS="3600") as container:
        try:
            yield container
        finally:
            if container.process.poll() is None:
                end(container)


def calls_of(container: ContainerProcess) -> float:
    found = [container.metric(f"polyhost_target_{kind}_total") for kind in ("hits", "misses")]
    return sum(value or 0.0 for value in found)


def end(container: ContainerProcess) -> None:
    """End the hour in which it drains, by the end of its front end."""
    container.process.terminate()
    wait_for(lambda: httpx.get(f"{container.http.base_url}/ready", trust_env=False).status_code == 503, "the end")
    container.process_of(*(NATIVE if container.native else ROUTER)).kill()
    assert container.process.wait(60) == 0
