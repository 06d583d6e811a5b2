import gc
import json
import struct
import weakref
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as some

from polyhost.container.native.decoder import (
    Chunk,
    GarbledReplyError,
    LoadReply,
    ReplyDecoder,
    WorkerReplaced,
    WorkerResponse,
)
from polyhost.container.worker.http_fields import FRAMING, MAX_HEAD_BYTES, MAX_HEADERS
from polyhost.container.worker.protocol import (
    STREAMED_CODE,
    SUBSTITUTE_CODE,
    encode_chunk,
    encode_first_chunk,
    encode_last_chunk,
    encode_load_reply,
    encode_predict_reply,
)
from polyhost.container.worker.types import Response

Reply = WorkerResponse | WorkerReplaced | LoadReply | Chunk

texts = some.text(some.characters(exclude_characters="\0\v\f\r\n", exclude_categories=["Cs"]), max_size=20)
names = some.from_regex(r"[!#-'*+.^_`|~0-9A-Za-z-]{1,20}", fullmatch=True).filter(
    lambda name: name.lower() not in FRAMING
)
responses = some.builds(
    Response,
    id=some.text(min_size=1, max_size=20),
    status=some.integers(200, 599),
    headers=some.dictionaries(names, texts, max_size=4),
    body=some.binary(max_size=200),
    phrase=texts,
)


def streamed(response: Response, chunks: list[bytes], failure: bytes | None) -> tuple[bytes, list[Reply]]:
    sent = encode_first_chunk(response) + b"".join(map(encode_chunk, chunks)) + encode_last_chunk(failure)
    return sent, [decoded(response, more=True), *map(Chunk, chunks), Chunk(None, failure)]


def whole(batch: list[Response]) -> tuple[bytes, list[Reply]]:
    return encode_predict_reply(batch), list(map(decoded, batch))


def decoded(response: Response, more: bool = False) -> WorkerResponse:
    headers = [(name.encode(), value.encode()) for name, value in response.headers.items()]
    return WorkerResponse(response.id.encode(), response.status, response.phrase.encode(), headers, response.body, more)


replies = some.one_of(
    some.lists(responses, max_size=4).map(whole),
    some.builds(
        streamed,
        responses,
        some.lists(some.binary(min_size=1, max_size=50), max_size=4),
        some.none() | some.binary(max_size=50),
    ),
)
LIMIT = 1000  # of a body
LOADED = encode_load_reply(200, "{}")


def feed(decoder: ReplyDecoder, pieces: list[bytes]) -> list[Reply]:
    return [found for piece in pieces for found in decoder.feed(piece)]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(bounds)]


places = some.lists(some.integers(0, 1 << 16), max_size=40)


@given(some.lists(replies, min_size=1, max_size=4), places)
def test_any_split_gives_the_same_replies(sent: list[tuple[bytes, list[Reply]]], places: list[int]) -> None:
    data = LOADED + b"".join(encoded for encoded, _ in sent)
    expected = [LoadReply(200, "{}"), *(found for _, all_of_it in sent for found in all_of_it)]
    assert feed(ReplyDecoder(LIMIT), cut(data, places)) == expected


@given(replies)
def test_single_bytes_give_the_same_replies(sent: tuple[bytes, list[Reply]]) -> None:
    data = LOADED + sent[0]
    assert feed(ReplyDecoder(LIMIT), [data[place : place + 1] for place in range(len(data))]) == [
        LoadReply(200, "{}"),
        *sent[1],
    ]


def test_substitute_responses_end_with_the_workers_replacement() -> None:
    batch = [Response(item, 500, {}, b"died") for item in ("1", "2")]
    found = feed(
        ReplyDecoder(LIMIT), [LOADED + encode_predict_reply(batch, SUBSTITUTE_CODE) + encode_predict_reply(batch[:1])]
    )
    assert [type(one) for one in found[1:]] == [WorkerResponse, WorkerResponse, WorkerReplaced, WorkerResponse]


def test_failed_load_may_be_followed_by_another_reply_to_a_load() -> None:
    failure = json.dumps({"message": "é"})
    found = feed(ReplyDecoder(LIMIT), [encode_load_reply(507, failure) + LOADED])
    assert found == [LoadReply(507, failure), LoadReply(200, "{}")]


@given(some.booleans(), some.binary(max_size=300), places)
def test_garbage_has_the_same_outcome_wherever_it_is_cut(loaded: bool, garbage: bytes, places: list[int]) -> None:
    outcomes = [outcome(loaded, pieces) for pieces in ([garbage], cut(garbage, places))]
    assert outcomes[0] == outcomes[1]


@given(replies, some.data())
def test_wrong_byte_has_the_same_outcome_wherever_it_is_cut(
    sent: tuple[bytes, list[Reply]], data: some.DataObject
) -> None:
    """The outcome may be a reply: a wrong byte of content cannot be noticed."""
    encoded = bytearray(sent[0])
    place = data.draw(some.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(some.integers(1, 255))
    assert outcome(True, [bytes(encoded)]) == outcome(True, cut(bytes(encoded), data.draw(places)))


def outcome(loaded: bool, pieces: list[bytes]) -> tuple[list[Reply], bool]:
    """Return the replies before the garbage, and whether it was rejected."""
    decoder = ReplyDecoder(LIMIT)
    if loaded:
        feed(decoder, [LOADED])
    found: list[Reply] = []
    try:
        for piece in pieces:
            found.extend(decoder.feed(piece))
    except GarbledReplyError:
        return found, True
    return found, False


@given(some.binary(max_size=30))
def test_load_reply_that_is_not_utf_8_is_rejected(text: bytes) -> None:
    assume(not _is_text(text))
    reply = encode_load_reply(200, "x" * len(text)).replace(b"x" * len(text), text)
    with pytest.raises(GarbledReplyError, match="UTF-8"):
        feed(ReplyDecoder(LIMIT), [reply])


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def reply_of(response: Response) -> bytes:
    return encode_predict_reply([response])


def body_of(length: int) -> bytes:
    """Return a reply whose body has this length, without its bytes."""
    return reply_of(Response("1", 200, {}, b""))[:-8] + struct.pack("!i", length)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (reply_of(Response("1", 200, {"x": "a\r\n\r\nHTTP/1.1 200 OK"}, b"")), "HTTP cannot carry"),
        (reply_of(Response("1", 200, {"x": "a\nb: c"}, b"")), "HTTP cannot carry"),
        (reply_of(Response("1", 200, {"x": "a\0"}, b"")), "HTTP cannot carry"),
        (reply_of(Response("1", 200, {"x: y\r\nz": "a"}, b"")), "HTTP cannot carry"),
        (reply_of(Response("1", 200, {"x:y": "a"}, b"")), "HTTP cannot carry"),
        (reply_of(Response("1", 200, {"": "a"}, b"")), "HTTP cannot carry"),
        (reply_of(Response("1", 200, {"x y": "a"}, b"")), "HTTP cannot carry"),
        (reply_of(Response("1", 200, {"é": "a"}, b"")), "HTTP cannot carry"),
        (reply_of(Response("1", 200, {}, b"", "OK\r\nx: y")), "HTTP cannot carry"),
        (reply_of(Response("1", 100, {}, b"")), "status 100"),
        (reply_of(Response("1", 600, {}, b"")), "status 600"),
        (reply_of(Response("1", -200, {}, b"")), "status -200"),
        (reply_of(Response("1", 200, {str(n): "" for n in range(MAX_HEADERS + 1)}, b"")), "101 headers"),
        (reply_of(Response("1", 200, {str(n): "x" * 700 for n in range(MAX_HEADERS)}, b"")), "a head of more than"),
        (reply_of(Response("1", 200, {}, b"", "x" * (MAX_HEAD_BYTES + 1))), "a length of 65537"),
        (reply_of(Response("1" * (MAX_HEAD_BYTES + 1), 200, {}, b"")), "a length of 65537"),
        (body_of(LIMIT + 1), "a length of 1001 bytes; at most 1000"),
        (body_of((1 << 31) - 1), "a length of 2147483647"),
        (body_of(-2), "a length of -2"),
        (struct.pack("!ii", 200, LIMIT + 1), "a length of 1001"),
        (encode_first_chunk(Response("1", 200, {}, b"")) + struct.pack("!i", LIMIT + 1), "a length of 1001"),
        (encode_first_chunk(Response("1", 200, {}, b"")) + struct.pack("!ii", -1, LIMIT + 1), "a length of 1001"),
        (encode_predict_reply([], STREAMED_CODE), "no reply"),
        (encode_predict_reply([Response("1", 200, {}, b"")] * 2, STREAMED_CODE), "no reply"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_reply_that_must_not_be_believed_is_rejected_wherever_it_is_cut(reply: bytes, words: str) -> None:
    for size in (len(reply), 7):
        decoder = ReplyDecoder(LIMIT)
        feed(decoder, [LOADED])
        with pytest.raises(GarbledReplyError, match=words):
            feed(decoder, [reply[place : place + size] for place in range(0, len(reply), size)])
        assert decoder.buffered <= MAX_HEAD_BYTES + LIMIT


def test_headers_like_the_last_ones_are_checked_too() -> None:
    decoder = ReplyDecoder(LIMIT)
    good = reply_of(Response("1", 200, {"x": "a", "y": "b"}, b""))
    feed(decoder, [LOADED, good, good])
    with pytest.raises(GarbledReplyError):
        feed(decoder, [reply_of(Response("1", 200, {"x": "a", "y": "\n"}, b""))])


def test_headers_that_frame_a_response_are_dropped() -> None:
    headers = {
        "Content-Length": "1",
        "x-a": "1",
        "TRANSFER-ENCODING": "chunked",
        "connection": "x",
        "x-connection": "2",
    }
    _, response = feed(ReplyDecoder(LIMIT), [LOADED + reply_of(Response("1", 200, headers, b"body"))])
    assert isinstance(response, WorkerResponse)
    assert response.headers == [(b"x-a", b"1"), (b"x-connection", b"2")]


def test_slow_batch_is_decoded_once() -> None:
    """The rest of a batch of large responses was once copied anew for each response in it."""
    batch = [
        Response(f"id-{number}", 200, {f"name-{n}": "value" for n in range(20)}, b"x" * 500) for number in range(100)
    ]
    data = encode_predict_reply(batch)
    decoder = ReplyDecoder(LIMIT)
    feed(decoder, [LOADED])
    longest = 0
    for place in range(0, len(data), 100):
        feed(decoder, [data[place : place + 100]])
        longest = max(longest, decoder.buffered)
    assert longest < 700


def test_decoder_is_freed_without_a_garbage_collection() -> None:
    """Each worker's connection has one, and the front end seldom collects garbage."""
    decoder = ReplyDecoder(LIMIT)
    feed(decoder, [LOADED, encode_predict_reply([])[:6]])
    gone = weakref.ref(decoder)
    gc.disable()
    try:
        del decoder
        assert gone() is None
    finally:
        gc.enable()
