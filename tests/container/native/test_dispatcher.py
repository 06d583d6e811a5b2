"""Queue, batches and bursts of one model; a test plays the fork server and the workers."""

from functools import partial
from pathlib import Path

import pytest

from polyhost.container.control_protocol import Resize, WorkerLost
from polyhost.container.errors import Failure
from polyhost.container.native.decoder import Chunk
from polyhost.container.native.dispatcher import BurstSize
from polyhost.container.native.errors import Rejection
from polyhost.container.native.queue import PendingBytes
from polyhost.container.worker.protocol import (
    SUBSTITUTE_CODE,
    encode_chunk,
    encode_first_chunk,
    encode_last_chunk,
    encode_predict_reply,
)
from polyhost.container.worker.types import Response
from tests.container.native.fork_server_side import ForkServerSide, run_scenario
from tests.support.waiting import until


def response(request_id: str, status: int = 200) -> Response:
    return Response(request_id, status, {}, b"a response")


def test_bursts_can_be_switched_off() -> None:
    burst = BurstSize(enabled=False)
    for _ in range(100):
        burst.on_response(0.0001)
    assert burst.size(waiting=100, idle_workers=1) == 1


def test_bursts_grow_with_the_speed_of_the_model() -> None:
    burst = BurstSize()
    assert burst.size(waiting=100, idle_workers=1) == 1
    for _ in range(100):
        burst.on_response(0.0005)
    assert burst.size(waiting=100, idle_workers=1) == 3
    for _ in range(100):
        burst.on_response(0.00001)
    assert burst.size(waiting=100, idle_workers=1) == 16
    assert burst.size(waiting=5, idle_workers=2) == 3  # its share
    assert burst.size(waiting=0, idle_workers=0) == 1
    burst.on_stream()
    assert burst.size(waiting=100, idle_workers=1) == 1


def test_substitute_responses_answer_a_dead_workers_batch_once(tmp_path: Path) -> None:
    """One reply names all of the batch; only what it does not name goes to the next worker."""

    async def scenario(side: ForkServerSide) -> None:
        worker = await side.load("m")
        callers = [side.invoke("m")[1] for _ in range(3)]
        ids = await worker.next_ids()
        worker.send(encode_predict_reply([response(item, 500) for item in ids[:2]], SUBSTITUTE_CODE))
        await until(lambda: all(caller.received for caller in callers[:2]))

        assert await worker.next_ids() == ids[2:]
        worker.send(encode_predict_reply([response(ids[2])]))
        await until(lambda: callers[2].received)

        assert len(ids) == 3
        assert [caller.statuses for caller in callers] == [[500], [500], [200]]
        side.invoke("m")
        assert len(await worker.next_ids()) == 1

    (tmp_path / "models" / "m").mkdir(parents=True)
    (tmp_path / "models" / "m" / "polyhost.json").write_text('{"batch_size": 3, "batch_delay_ms": 300}')
    run_scenario(scenario, tmp_path)


def test_batch_is_sent_when_its_delay_is_over(tmp_path: Path) -> None:
    async def scenario(side: ForkServerSide) -> None:
        worker = await side.load("m")
        side.invoke("m")
        side.invoke("m")
        assert len(await worker.next_ids()) == 2

    (tmp_path / "models" / "m").mkdir(parents=True)
    (tmp_path / "models" / "m" / "polyhost.json").write_text('{"batch_size": 3, "batch_delay_ms": 30}')
    run_scenario(scenario, tmp_path)


def test_streams_are_not_sent_in_bursts(tmp_path: Path) -> None:
    """A slow reader of one would hold up those behind it."""

    async def scenario(side: ForkServerSide) -> None:
        worker = await side.load("m")
        callers = [side.invoke("m")[1] for _ in range(4)]
        (first,) = await worker.next_ids()
        worker.send(encode_first_chunk(response(first)) + encode_last_chunk())
        (second,) = await worker.next_ids()
        worker.send(encode_first_chunk(response(second)) + encode_last_chunk())
        (third,) = await worker.next_ids()
        worker.send(encode_predict_reply([response(third)]))

        await until(lambda: callers[2].received)
        assert callers[0].received[-1] == Chunk(None)
        assert len(await worker.next_ids()) == 1

    run_scenario(scenario, tmp_path)


@pytest.mark.parametrize("slow", [True, False])
def test_stream_whose_worker_died_ends_at_once(tmp_path: Path, slow: bool) -> None:
    """Also if its client is slow, so that nothing is read from the worker's connection."""

    async def scenario(side: ForkServerSide) -> None:
        worker = await side.load("m")
        invocation, caller = side.invoke("m")
        (request_id,) = await worker.next_ids()
        worker.send(encode_first_chunk(response(request_id)))
        await until(lambda: caller.received)
        if slow:
            invocation.pause()
        worker.send(encode_chunk(b"the last"))
        failure = Failure(500, "WorkerDiedError", "exited with status 7", "m", "predict")
        side.channel.send(WorkerLost(worker.number, failure))
        worker.die()

        await until(lambda: len(caller.received) == 3)
        assert caller.received[1] == Chunk(b"the last")
        assert isinstance(caller.received[2], Rejection)
        assert str(caller.received[2]) == "exited with status 7"

    run_scenario(scenario, tmp_path)


def test_rest_of_a_dead_workers_burst_goes_to_an_idle_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BurstSize, "MAX_SECONDS", 600.0)  # however slow the machine is

    async def scenario(side: ForkServerSide) -> None:
        first = await side.load("m")
        for _ in range(30):  # until the model counts as fast
            _, caller = side.invoke("m")
            (request_id,) = await first.next_ids()
            first.send(encode_predict_reply([response(request_id)]))
            await until(partial(len, caller.received))
        (key,) = side.models.open_keys()
        side.channel.send(Resize(key, 2))
        second = await side.next_worker()

        _, running = side.invoke("m")
        (request_id,) = await first.next_ids()
        burst = [side.invoke("m")[1] for _ in range(3)]
        first.send(encode_predict_reply([response(request_id)]))
        ids = await first.next_ids()
        await second.load()
        await until(lambda: side.models.get("m").workers == 2)
        first.die()

        assert len(ids) == 3
        assert await second.next_ids() == ids[1:]
        await until(lambda: burst[0].received)
        assert isinstance(burst[0].received[0], Rejection)
        assert running.statuses == [200]

    run_scenario(scenario, tmp_path)


def test_pending_bytes_are_limited_over_all_models(tmp_path: Path) -> None:
    pending = PendingBytes(limit=100)

    async def scenario(side: ForkServerSide) -> None:
        workers = [await side.load(name) for name in ("a", "b")]
        side.invoke("a")
        (request_id,) = await workers[0].next_ids()
        waiting, _ = side.invoke("a")
        while not pending.exceeded:
            side.invoke("a")
        side.invoke("b")  # goes to the worker without waiting
        with pytest.raises(Rejection, match="pending requests of all models"):
            side.invoke("b")

        waiting.cancel()
        side.invoke("b")
        workers[0].send(encode_predict_reply([response(request_id)]))
        await workers[0].next_ids()
        for name in ("a", "b"):
            side.models.get(name).reject_all()
        assert pending.total == 0

    run_scenario(scenario, tmp_path, pending)


def test_queue_is_limited_per_model(tmp_path: Path) -> None:
    async def scenario(side: ForkServerSide) -> None:
        worker = await side.load("m")
        side.invoke("m")
        await worker.next_ids()
        for _ in range(2):
            side.invoke("m")
        with pytest.raises(Rejection, match="2 requests are queued"):
            side.invoke("m")

    run_scenario(scenario, tmp_path, POLYHOST_QUEUE_SIZE="2")


def test_overdue_invocations_are_rejected(tmp_path: Path) -> None:
    async def scenario(side: ForkServerSide) -> None:
        side.models.start()
        worker = await side.load("m")
        _, running = side.invoke("m")
        await worker.next_ids()
        _, waiting = side.invoke("m")
        await until(lambda: waiting.received)
        assert not running.received  # the fork server's own deadline comes first
        await until(lambda: running.received)
        for caller, text in ((waiting, "still queued"), (running, "still running")):
            (rejection,) = caller.received
            assert isinstance(rejection, Rejection) and text in str(rejection)

    run_scenario(scenario, tmp_path, SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS="1")
