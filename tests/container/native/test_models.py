"""Models, their queues and connections, towards a fork server and workers that the test plays."""

from pathlib import Path

from container.exchange import Response
from container.native.replies import Answer, Piece
from container.protocol import IN_PLACE, first_piece, last_piece, predict_reply
from tests.container.native.fork_server_side import Side, play, until


def response(request_id: str, status: int = 200) -> Response:
    return Response(request_id, status, {}, b"an answer")


def test_a_worker_that_died_with_a_batch_is_answered_for_once(tmp_path: Path) -> None:
    """One reply names all of the batch; none of them goes to the next worker."""

    async def story(side: Side) -> None:
        worker = await side.loaded("m")
        callers = [side.call("m")[1] for _ in range(3)]
        ids = await worker.next()
        worker.send(predict_reply([response(item, 500) for item in ids[:2]], IN_PLACE))
        await until(lambda: all(caller.told for caller in callers[:2]))

        assert await worker.next() == ids[2:]
        worker.send(predict_reply([response(ids[2])]))
        await until(lambda: callers[2].told)

        assert len(ids) == 3
        assert [[answer.status for answer in caller.told if isinstance(answer, Answer)] for caller in callers] == [
            [500], [500], [200],
        ]  # fmt: skip
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
        worker.send(first_piece(response(first)) + last_piece())
        (second,) = await worker.next()
        worker.send(first_piece(response(second)) + last_piece())
        (third,) = await worker.next()
        worker.send(predict_reply([response(third)]))

        await until(lambda: callers[2].told)
        assert callers[0].told[-1] == Piece(None)
        assert len(await worker.next()) == 1

    play(story, tmp_path)
