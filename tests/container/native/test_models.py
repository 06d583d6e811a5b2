"""Models, their queues and connections, towards a fork server and workers that the test plays."""

import asyncio
import os
import resource
import socket
from pathlib import Path

import pytest

from polyhost.container.control_protocol import CloseModel, ModelClosed, OpenModel, WorkerLost
from polyhost.container.errors import Failure
from polyhost.container.native.decoder import Chunk, WorkerResponse
from polyhost.container.native.errors import Rejection
from polyhost.container.native.queue import PendingBytes
from polyhost.container.native.served_model import ModelTimeouts
from polyhost.container.worker.protocol import (
    SUBSTITUTE_CODE,
    encode_chunk,
    encode_first_chunk,
    encode_last_chunk,
    encode_predict_reply,
)
from polyhost.container.worker.types import Response
from tests.container.native.fork_server_side import Side, play, until


def response(request_id: str, status: int = 200) -> Response:
    return Response(request_id, status, {}, b"an answer")


def test_a_worker_that_died_with_a_batch_is_answered_for_once(tmp_path: Path) -> None:
    """One reply names all of the batch; none of them goes to the next worker."""

    async def story(side: Side) -> None:
        worker = await side.loaded("m")
        callers = [side.call("m")[1] for _ in range(3)]
        ids = await worker.next()
        worker.send(encode_predict_reply([response(item, 500) for item in ids[:2]], SUBSTITUTE_CODE))
        await until(lambda: all(caller.told for caller in callers[:2]))

        assert await worker.next() == ids[2:]
        worker.send(encode_predict_reply([response(ids[2])]))
        await until(lambda: callers[2].told)

        assert len(ids) == 3
        statuses = [[told.status for told in caller.told if isinstance(told, WorkerResponse)] for caller in callers]
        assert statuses == [[500], [500], [200]]
        side.call("m")
        assert len(await worker.next()) == 1

    (tmp_path / "models" / "m").mkdir(parents=True)
    (tmp_path / "models" / "m" / "polyhost.json").write_text('{"batch_size": 3, "batch_delay_ms": 300}')
    play(story, tmp_path)


def test_answers_in_pieces_are_not_asked_for_together(tmp_path: Path) -> None:
    """Who reads one of them slowly would hold up the others."""

    async def story(side: Side) -> None:
        worker = await side.loaded("m")
        callers = [side.call("m")[1] for _ in range(4)]
        (first,) = await worker.next()
        worker.send(encode_first_chunk(response(first)) + encode_last_chunk())
        (second,) = await worker.next()
        worker.send(encode_first_chunk(response(second)) + encode_last_chunk())
        (third,) = await worker.next()
        worker.send(encode_predict_reply([response(third)]))

        await until(lambda: callers[2].told)
        assert callers[0].told[-1] == Chunk(None)
        assert len(await worker.next()) == 1

    play(story, tmp_path)


def test_an_unload_that_takes_too_long_leaves_the_name_free(tmp_path: Path) -> None:
    async def story(side: Side) -> None:
        await side.loaded("m")
        (key,) = side.models.open_keys()
        unload = asyncio.create_task(side.models.unload("m"))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(side.models.unload("m"))
        with pytest.raises(Rejection, match="did not end within"):
            await unload
        with pytest.raises(Rejection, match="not loaded"):
            await waiting
        assert side.models.open_keys() == [key]

        side.channel.send(ModelClosed(key))
        await until(lambda: not side.models.open_keys())

    play(story, tmp_path, timeouts=ModelTimeouts(close=0.1))


def test_a_load_that_is_never_answered(tmp_path: Path) -> None:
    async def story(side: Side) -> None:
        load = asyncio.create_task(side.models.load("m", side.folder("m")))
        await side.next_worker()
        await side.next_of(CloseModel)
        side.channel.send(ModelClosed(1))
        with pytest.raises(Rejection, match="POLYHOST_LOAD_TIMEOUT_SECONDS"):
            await load
        with pytest.raises(Rejection, match="not loaded"):
            side.models.get("m")

    play(story, tmp_path, timeouts=ModelTimeouts(load_grace=0.1), POLYHOST_LOAD_TIMEOUT_SECONDS="1")


def test_a_load_that_the_fork_server_cannot_do(tmp_path: Path) -> None:
    """It may not even have got the worker's connection, so that its word is all that comes."""

    async def story(side: Side) -> None:
        load = asyncio.create_task(side.models.load("m", side.folder("m")))
        worker = await side.next_worker()
        side.channel.send(WorkerLost(worker.link, Failure(507, "OSError", "Too many open files", "m", "load")))
        await side.next_of(CloseModel)
        side.channel.send(ModelClosed(1))
        with pytest.raises(Rejection, match="Too many open files"):
            await load

    play(story, tmp_path)


def test_a_load_and_an_unload_at_once(tmp_path: Path) -> None:
    """No connection is left for which a worker would be forked."""

    async def story(side: Side) -> None:
        load = asyncio.create_task(side.models.load("m", side.folder("m")))
        await asyncio.sleep(0)
        unload = asyncio.create_task(side.models.unload("m"))
        await asyncio.sleep(0)
        asked = [(await side.next())[0]]
        while not isinstance(asked[-1], CloseModel):
            asked.append((await side.next())[0])
        side.channel.send(ModelClosed(1))
        await unload
        with pytest.raises(Rejection, match="unloaded while it was loading"):
            await load
        assert [type(message) for message in asked] == [OpenModel, CloseModel]
        assert not side.models.open_keys()

    play(story, tmp_path)


@pytest.mark.parametrize("free", range(4))
def test_without_a_descriptor_a_load_is_refused(tmp_path: Path, free: int) -> None:
    """Wherever it lacks: the connection takes three, what goes to the fork server another."""

    async def story(side: Side) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        folder = side.folder("m")
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + free, hard))
        try:
            load = asyncio.create_task(side.models.load("m", folder))
            await asyncio.sleep(0.1)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await side.next_of(CloseModel)
        side.channel.send(ModelClosed(1))
        with pytest.raises(Rejection, match="Too many open files"):
            await load

    play(story, tmp_path)


@pytest.mark.parametrize("slow", [True, False])
def test_an_answer_whose_worker_died_ends_at_once(tmp_path: Path, slow: bool) -> None:
    """Also where its client is slow, so that nothing is read from the worker's connection."""

    async def story(side: Side) -> None:
        worker = await side.loaded("m")
        call, caller = side.call("m")
        (request_id,) = await worker.next()
        worker.send(encode_first_chunk(response(request_id)))
        await until(lambda: caller.told)
        if slow:
            call.pause()
        worker.send(encode_chunk(b"the last"))
        side.channel.send(
            WorkerLost(worker.link, Failure(500, "WorkerDiedError", "exited with status 7", "m", "predict"))
        )
        worker.socket.shutdown(socket.SHUT_RDWR)

        await until(lambda: len(caller.told) == 3)
        assert caller.told[1] == Chunk(b"the last")
        assert isinstance(caller.told[2], Rejection)
        assert str(caller.told[2]) == "exited with status 7"

    play(story, tmp_path)


def test_calls_that_wait_have_a_limit_over_all_models(tmp_path: Path) -> None:
    pending = PendingBytes(limit=100)

    async def story(side: Side) -> None:
        workers = [await side.loaded(name) for name in ("a", "b")]
        side.call("a")
        (request_id,) = await workers[0].next()
        waiting = side.call("a")
        while pending.total < 100:
            side.call("a")
        side.call("b")  # one that does not wait
        with pytest.raises(Rejection, match="of all models"):
            side.call("b")

        waiting[0].cancel()
        side.call("b")
        workers[0].send(encode_predict_reply([response(request_id)]))
        await workers[0].next()
        for name in ("a", "b"):
            side.models.get(name).reject_all()
        assert pending.total == 0

    play(story, tmp_path, pending)
