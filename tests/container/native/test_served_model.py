"""One model's lifecycle; a test plays the fork server and the workers."""

import asyncio
from pathlib import Path

import pytest

from polyhost.container.control_protocol import (
    AddSurvivor,
    AddWorker,
    OpenModel,
    Resize,
    WorkerLost,
    WorkerStarted,
)
from polyhost.container.errors import Failure
from polyhost.container.native.errors import Rejection
from polyhost.container.native.load_request import LoadRequest
from polyhost.container.native.served_model import _TRANSITIONS, ModelState
from polyhost.container.worker.protocol import encode_load_reply, encode_predict_reply
from polyhost.container.worker.status_page import StatusPage
from polyhost.container.worker.types import Response
from tests.container.native.fork_server_side import ForkServerSide, run_scenario
from tests.support.waiting import until


def test_every_state_has_transitions_and_can_be_reached() -> None:
    assert set(_TRANSITIONS) == set(ModelState)
    reachable = {ModelState.LOADING}.union(*_TRANSITIONS.values())
    assert reachable == set(ModelState)


def test_model_without_a_worker_backs_off_with_the_reason(tmp_path: Path) -> None:
    async def scenario(side: ForkServerSide) -> None:
        worker = await side.load("m")
        model = side.models.get("m")
        worker.die()
        second = await side.next_worker()
        failure = Failure(507, "MemoryError", "it does not fit", "m", "load")
        second.send(encode_load_reply(507, failure.to_json().decode()))
        await until(lambda: model.state is ModelState.BACKING_OFF)
        assert model.loaded
        with pytest.raises(Rejection, match="next attempt within 1 s; last error: it does not fit") as rejected:
            side.invoke("m")
        assert (rejected.value.failure.code, rejected.value.failure.type) == (503, "MemoryError")

        third = await side.next_worker()
        await third.load()
        await until(lambda: model.state is ModelState.READY)
        _, caller = side.invoke("m")
        (request_id,) = await third.next_ids()
        third.send(encode_predict_reply([Response(request_id, 200, {}, b"")]))
        await until(lambda: caller.received)
        assert caller.statuses == [200]

    run_scenario(scenario, tmp_path)


def test_model_that_backs_off_can_be_unloaded(tmp_path: Path) -> None:
    async def scenario(side: ForkServerSide) -> None:
        worker = await side.load("m")
        model = side.models.get("m")
        worker.die()
        second = await side.next_worker()
        side.channel.send(WorkerLost(second.number, Failure(507, "MemoryError", "it does not fit", "m", "load")))
        await until(lambda: model.state is ModelState.BACKING_OFF)
        unload = asyncio.create_task(side.models.unload("m"))
        await asyncio.sleep(0)
        with pytest.raises(Rejection, match="not loaded"):
            side.invoke("m")
        await side.close_model()
        await unload
        assert model.state is ModelState.CLOSED

    run_scenario(scenario, tmp_path)


def test_unload_waits_for_running_invocations_and_rejects_waiting_ones(tmp_path: Path) -> None:
    async def scenario(side: ForkServerSide) -> None:
        worker = await side.load("m")
        _, running = side.invoke("m")
        (request_id,) = await worker.next_ids()
        _, waiting = side.invoke("m")
        unload = asyncio.create_task(side.models.unload("m"))
        await until(lambda: waiting.received)
        assert isinstance(waiting.received[0], Rejection)
        assert side.models.get("m").state is ModelState.DRAINING

        worker.send(encode_predict_reply([Response(request_id, 200, {}, b"")]))
        await side.close_model()
        await unload
        assert running.statuses == [200]

    run_scenario(scenario, tmp_path)


def test_number_of_workers_follows_the_fork_server(tmp_path: Path) -> None:
    async def scenario(side: ForkServerSide) -> None:
        await side.load("m")
        model = side.models.get("m")
        (key,) = side.models.open_keys()
        side.channel.send(Resize(key, 2))
        second = await side.next_worker()
        await second.load()
        await until(lambda: model.workers == 2)

        side.channel.send(Resize(key, 1))
        await until(lambda: model.workers == 1)

    run_scenario(scenario, tmp_path)


def test_new_fork_server_is_told_of_models_and_surviving_workers(tmp_path: Path) -> None:
    async def scenario(side: ForkServerSide) -> None:
        worker = await side.load("m")
        page = StatusPage.create()
        side.channel.send(WorkerStarted(worker.number, 4711), (page,))
        load = asyncio.create_task(side.models.load(LoadRequest("n", side.create_directory("n"))))
        await side.next_worker()
        await side.restart()

        messages = [(await side.next_message())[0] for _ in range(4)]
        (opened, survivor, opened_too, asked) = messages
        assert isinstance(opened, OpenModel) and isinstance(opened_too, OpenModel)
        assert (opened.model.name, opened_too.model.name) == ("m", "n")
        assert isinstance(survivor, AddSurvivor)
        assert (survivor.connection, survivor.pid) == (worker.number, 4711)
        assert isinstance(asked, AddWorker)
        load.cancel()
        await side.close_model()

    run_scenario(scenario, tmp_path)


def test_load_during_which_two_fork_servers_died_is_failed(tmp_path: Path) -> None:
    async def scenario(side: ForkServerSide) -> None:
        load = asyncio.create_task(side.models.load(LoadRequest("m", side.create_directory("m"))))
        await side.next_worker()
        await side.restart()
        await side.next_worker()
        assert not load.done()
        await side.restart()
        await side.close_model()
        with pytest.raises(Rejection, match="the fork server died 2 times during the load") as rejected:
            await load
        assert (rejected.value.failure.code, rejected.value.failure.type) == (500, "ForkServerDiedError")
        assert side.models.open_keys() == []

    run_scenario(scenario, tmp_path)
