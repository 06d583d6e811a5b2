"""SIGTERM with a model store: clients are sent elsewhere first, and what runs is finished (docs/kubernetes.md)."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.integration.test_faults import NATIVE
from tests.integration.test_model_store import JSON, invoke, running_store
from tests.support.container import ContainerProcess
from tests.support.model_store import TARGET, archive_of, put, says
from tests.support.waiting import wait_for

ROUTER = ("polyhost.container.router",)


@pytest.fixture(scope="module", params=["native", "mms"])
def front(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_while_it_drains_it_is_not_ready_and_serves(tmp_path: Path, front: str) -> None:
    put(tmp_path / "store", "a.tar.gz", says("served"))
    put(tmp_path / "store", "b.tar.gz", says("loaded late"))
    # Longer than any machine takes for the rest; the front end's end is the end of it.
    with running_store(tmp_path, front, tmp_path / "store", POLYHOST_DRAIN_SECONDS="3600") as container:
        assert invoke(container, "a.tar.gz").text == "served"
        ready = wait_for(lambda: _answer(container, "/ready", 200), "readiness")
        assert ready.headers.get("connection") != "close"

        container.process.terminate()
        stopping = wait_for(lambda: _answer(container, "/ready", 503), "the end of readiness")

        assert stopping.json()["status"] == "stopping"
        assert _answer(container, "/ping", 200) is not None  # it lives
        for name, text in (("a.tar.gz", "served"), ("b.tar.gz", "loaded late")):
            response = invoke(container, name)
            assert (response.status_code, response.text, response.headers["connection"]) == (200, text, "close")
        container.process_of(*(NATIVE if container.native else ROUTER)).kill()
        assert container.process.wait(60) == 0


def test_what_runs_is_finished_and_then_it_ends(tmp_path: Path, front: str, pool: ThreadPoolExecutor) -> None:
    put(tmp_path / "store", "slow.tar.gz", archive_of("waits_for_a_file"))
    settings = {"POLYHOST_DRAIN_SECONDS": "1", "POLYHOST_FINISH_SECONDS": "300"}
    with running_store(tmp_path, front, tmp_path / "store", **settings) as container:
        call = pool.submit(_invoke_slowly, container)
        (folder,) = {path.parent for path in wait_for(lambda: list(tmp_path.rglob("waits-for-load")), "the load")}
        (folder / "load").touch()
        wait_for((folder / "waits-for-answer").exists, "the invocation")

        container.process.terminate()
        wait_for(container.refuses_connections, "connections to be refused")
        assert not call.done()
        (folder / "answer").touch()

        assert (call.result().status_code, call.result().text) == (200, "wait")
        assert container.process.wait(60) == 0


def _invoke_slowly(container: ContainerProcess) -> httpx.Response:
    with httpx.Client(base_url=container.http.base_url, timeout=300, trust_env=False) as client:
        return client.post("/invocations", content=b"wait", headers={TARGET: "slow.tar.gz", "Content-Type": JSON})


def _answer(container: ContainerProcess, path: str, status: int) -> httpx.Response | None:
    response = httpx.get(f"{container.http.base_url}{path}", timeout=60, trust_env=False)
    return response if response.status_code == status else None
