import gc
import json
import weakref
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as some

from polyhost.container.native.decoder import Answer, GarbledError, Loaded, Piece, Replaced, ReplyReader
from polyhost.container.worker.model import Response
from polyhost.container.worker.protocol import (
    IN_PLACE,
    first_piece,
    further_piece,
    last_piece,
    load_reply,
    predict_reply,
)

Reply = Answer | Replaced | Loaded | Piece

texts = some.text(max_size=20)
responses = some.builds(
    Response,
    id=some.text(min_size=1, max_size=20),
    status=some.integers(200, 599),
    headers=some.dictionaries(texts, texts, max_size=4),
    body=some.binary(max_size=200),
    phrase=texts,
)


def in_pieces(response: Response, pieces: list[bytes], failure: bytes | None) -> tuple[bytes, list[Reply]]:
    sent = first_piece(response) + b"".join(map(further_piece, pieces)) + last_piece(failure)
    return sent, [answer(response, more=True), *map(Piece, pieces), Piece(None, failure)]


def whole(batch: list[Response]) -> tuple[bytes, list[Reply]]:
    return predict_reply(batch), list(map(answer, batch))


def answer(response: Response, more: bool = False) -> Answer:
    headers = [(name.encode(), value.encode()) for name, value in response.headers.items()]
    return Answer(response.id.encode(), response.status, response.phrase.encode(), headers, response.body, more)


replies = some.one_of(
    some.lists(responses, max_size=4).map(whole),
    some.builds(
        in_pieces,
        responses,
        some.lists(some.binary(min_size=1, max_size=50), max_size=4),
        some.none() | some.binary(max_size=50),
    ),
)
LOADED = load_reply(200, "{}")


def fed(reader: ReplyReader, pieces: list[bytes]) -> list[Reply]:
    return [found for piece in pieces for found in reader.feed(piece)]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(bounds)]


places = some.lists(some.integers(0, 1 << 16), max_size=40)


@given(some.lists(replies, min_size=1, max_size=4), places)
def test_any_split_gives_the_same_replies(sent: list[tuple[bytes, list[Reply]]], places: list[int]) -> None:
    data = LOADED + b"".join(encoded for encoded, _ in sent)
    expected = [Loaded(200, "{}"), *(found for _, all_of_it in sent for found in all_of_it)]
    assert fed(ReplyReader(), cut(data, places)) == expected


@given(replies)
def test_byte_after_byte(sent: tuple[bytes, list[Reply]]) -> None:
    data = LOADED + sent[0]
    assert fed(ReplyReader(), [data[place : place + 1] for place in range(len(data))]) == [Loaded(200, "{}"), *sent[1]]


def test_the_end_of_answers_in_a_workers_place() -> None:
    batch = [Response(item, 500, {}, b"died") for item in ("1", "2")]
    found = fed(ReplyReader(), [LOADED + predict_reply(batch, IN_PLACE) + predict_reply(batch[:1])])
    assert [type(one) for one in found[1:]] == [Answer, Answer, Replaced, Answer]


def test_a_load_that_failed_may_be_followed_by_another_try() -> None:
    failure = json.dumps({"message": "é"})
    found = fed(ReplyReader(), [load_reply(507, failure) + LOADED])
    assert found == [Loaded(507, failure), Loaded(200, "{}")]


@given(some.booleans(), some.binary(max_size=300), places)
def test_garbage_is_waited_on_or_refused_wherever_it_is_cut(loaded: bool, garbage: bytes, places: list[int]) -> None:
    outcomes = [outcome(loaded, pieces) for pieces in ([garbage], cut(garbage, places))]
    assert outcomes[0] == outcomes[1]


@given(replies, some.data())
def test_one_wrong_byte_is_waited_on_or_refused(sent: tuple[bytes, list[Reply]], data: some.DataObject) -> None:
    """Or is content, which only the model knows to be wrong."""
    encoded = bytearray(sent[0])
    place = data.draw(some.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(some.integers(1, 255))
    assert outcome(True, [bytes(encoded)]) == outcome(True, cut(bytes(encoded), data.draw(places)))


def outcome(loaded: bool, pieces: list[bytes]) -> tuple[list[Reply], bool]:
    """What was found before the garbage, and whether it was refused."""
    reader = ReplyReader()
    if loaded:
        fed(reader, [LOADED])
    found: list[Reply] = []
    try:
        for piece in pieces:
            found.extend(reader.feed(piece))
    except GarbledError:
        return found, True
    return found, False


@given(some.binary(max_size=30))
def test_a_load_reply_that_is_no_text_is_garbled(text: bytes) -> None:
    assume(not _is_text(text))
    reply = load_reply(200, "x" * len(text)).replace(b"x" * len(text), text)
    with pytest.raises(GarbledError, match="UTF-8"):
        fed(ReplyReader(), [reply])


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_each_byte_is_looked_at_a_few_times_only() -> None:
    """However it comes: a batch of large answers was once copied anew for each answer in it."""
    batch = [
        Response(f"id-{number}", 200, {f"name-{n}": "value" for n in range(20)}, b"x" * 500) for number in range(100)
    ]
    data = predict_reply(batch)
    reader = ReplyReader()
    fed(reader, [LOADED])
    longest = 0
    for place in range(0, len(data), 100):
        fed(reader, [data[place : place + 100]])
        longest = max(longest, len(reader._buffer))
    assert longest < 700


def test_a_reader_goes_without_the_garbage_collector() -> None:
    """Each worker's connection has one, and the front end collects garbage seldom."""
    reader = ReplyReader()
    fed(reader, [LOADED, predict_reply([])[:6]])
    gone = weakref.ref(reader)
    gc.disable()
    try:
        del reader
        assert gone() is None
    finally:
        gc.enable()
