"""What becomes of a worker whose replies must not be believed, and of its callers; a test plays the workers."""

import asyncio
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from polyhost.container.native.errors import Rejection
from polyhost.container.native.load_request import LoadRequest
from polyhost.container.native.served_model import ModelState
from polyhost.container.worker.protocol import (
    SUBSTITUTE_CODE,
    encode_first_chunk,
    encode_load_reply,
    encode_predict_reply,
)
from polyhost.container.worker.types import Response
from tests.container.native.fork_server_side import ForkServerSide, run_scenario
from tests.support.waiting import until


def forged(request_id: str) -> bytes:
    second = "a\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6"
    return encode_predict_reply([Response(request_id, 200, {"x": second}, b"forged")])


def endless(request_id: str) -> bytes:
    """Return the beginning of a reply with a body of 2 GiB."""
    return encode_predict_reply([Response(request_id, 200, {}, b"")])[:-8] + struct.pack("!i", (1 << 31) - 1)


def announcing(request_id: str) -> bytes:
    return encode_predict_reply([Response(request_id, 102, {}, b"")])


def long_chunk(request_id: str) -> bytes:
    return encode_first_chunk(Response(request_id, 200, {}, b"")) + struct.pack("!i", 2 << 20)


def of_another_request(request_id: str) -> bytes:
    return encode_predict_reply([Response(f"{request_id}0", 200, {}, b"")])


REPLIES = [forged, endless, announcing, of_another_request]


@pytest.mark.parametrize("reply", REPLIES)
def test_worker_is_replaced_and_its_caller_gets_the_reason(
    tmp_path: Path, reply: Callable[[str], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(side: ForkServerSide) -> None:
        worker = await side.load("m")
        _, caller = side.invoke("m")
        (request_id,) = await worker.next_ids()
        _, waiting = side.invoke("m")
        worker.send(reply(request_id))
        await until(lambda: caller.received)
        (rejection,) = caller.received
        assert isinstance(rejection, Rejection)
        failure = rejection.failure
        assert (failure.code, failure.type, failure.model) == (500, "GarbledAnswerError", "m")
        assert "malformed reply from the worker: " in failure.message
        assert failure.message in caplog.text

        second = await side.next_worker()
        await second.load()
        (request_id,) = await second.next_ids()
        second.send(encode_predict_reply([Response(request_id, 200, {}, b"")]))
        await until(lambda: waiting.received)
        assert waiting.statuses == [200]

    run_scenario(scenario, tmp_path)


def test_stream_with_a_chunk_above_the_limit_is_broken_off(tmp_path: Path) -> None:
    async def scenario(side: ForkServerSide) -> None:
        worker = await side.load("m")
        _, caller = side.invoke("m")
        (request_id,) = await worker.next_ids()
        worker.send(long_chunk(request_id))
        await until(lambda: len(caller.received) == 2)
        assert isinstance(caller.received[1], Rejection)
        assert "a length of 2097152 bytes; at most 1048576" in caller.received[1].failure.message

    run_scenario(scenario, tmp_path, SAGEMAKER_MAX_REQUEST_SIZE="1")


def test_stream_out_of_order_leaves_no_caller_without_an_answer(tmp_path: Path) -> None:
    async def scenario(side: ForkServerSide) -> None:
        worker = await side.load("m")
        callers = [side.invoke("m")[1] for _ in range(2)]
        ids = await worker.next_ids()
        assert len(ids) == 2
        worker.send(encode_first_chunk(Response(ids[1], 200, {}, b"")))
        await until(lambda: all(caller.received for caller in callers))
        assert all(isinstance(caller.received[0], Rejection) for caller in callers)

    run_scenario(scenario, tmp_path, POLYHOST_BATCH_SIZE="2", POLYHOST_BATCH_DELAY_MS="10000")


def test_idle_worker_that_claims_its_replacement_is_replaced(tmp_path: Path) -> None:
    """It would be twice among the idle ones, and lose what it is sent the second time."""

    async def scenario(side: ForkServerSide) -> None:
        worker = await side.load("m")
        worker.send(encode_predict_reply([], SUBSTITUTE_CODE))
        second = await side.next_worker()
        await second.load()
        _, caller = side.invoke("m")
        (request_id,) = await second.next_ids()
        second.send(encode_predict_reply([Response(request_id, 200, {}, b"")]))
        await until(lambda: caller.received)
        assert caller.statuses == [200]

    run_scenario(scenario, tmp_path)


@pytest.mark.parametrize(
    ("code", "text"),
    [(200, "[]"), (200, '{"x": 1}'), (200, '{"fork": "1"}'), (200, '{"fork": NaN}'), (500, "{}"), (500, "[" * 100_000)],
)
def test_reply_to_a_load_is_checked(tmp_path: Path, code: int, text: str) -> None:
    async def scenario(side: ForkServerSide) -> None:
        load = asyncio.create_task(side.models.load(LoadRequest("m", side.create_directory("m"))))
        worker = await side.next_worker()
        worker.send(encode_load_reply(code, text))
        closing = asyncio.create_task(side.close_model())
        with pytest.raises(Rejection, match="malformed reply"):
            await load
        await closing

    run_scenario(scenario, tmp_path)


def test_idle_workers_that_write_nonsense_again_and_again_are_replaced_once_a_second(tmp_path: Path) -> None:
    async def scenario(side: ForkServerSide) -> None:
        worker = await side.load("m")
        model = side.models.get("m")
        worker.send(b"nonsense")
        second = await side.next_worker()
        await second.load()
        second.send(b"nonsense")
        await until(lambda: model.workers == 0)
        third = await side.next_worker()
        await third.load()
        await until(lambda: model.workers == 1)
        assert model.state is ModelState.READY

    run_scenario(scenario, tmp_path)
