"""A replica that is stopped by SIGTERM behind Envoy with the shipped configuration (docs/many-machines.md)."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.many_machines import proxy
from benchmarks.many_machines.proxy import Proxy
from tests.deploy.kubernetes.test_end import MODELS, Clients, calls_of, end, replica
from tests.support.model_store import put, says
from tests.support.waiting import wait_for


@pytest.mark.parametrize("front", ["native", "mms"])
def test_no_call_fails_while_a_replica_drains(tmp_path: Path, front: str) -> None:
    if reason := proxy.missing():
        pytest.skip(reason)
    for name in MODELS:
        put(tmp_path / "store", name, says(name))
    with ExitStack() as stack:
        replicas = {name: stack.enter_context(replica(tmp_path, name, front)) for name in ("one", "two")}
        ending, other = replicas.values()
        envoy = Proxy(tmp_path, {name: container.port for name, container in replicas.items()})
        stack.callback(envoy.stop)
        envoy.start()
        wait_for(lambda: envoy.healthy() == {ending.port, other.port}, "two healthy replicas")
        with Clients(envoy.url) as clients:
            clients.wait_for_more(5 * len(MODELS))
            assert calls_of(ending) > 0 and calls_of(other) > 0

            ending.process.terminate()
            wait_for(lambda: envoy.healthy() == {other.port}, "Envoy to turn to the other replica")
            clients.wait_for_more(len(MODELS))  # those that were on their way
            before = calls_of(ending)
            clients.wait_for_more(5 * len(MODELS))
            assert calls_of(ending) == before
            end(ending)
            clients.wait_for_more(5 * len(MODELS))
    assert {(status, text == name) for name, status, text in clients.answers} == {(200, True)}
