"""The worker reads what MMS encodes, however it is cut, and MMS decodes what the worker sends."""

import itertools
import os
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from mms.context import Context, RequestProcessor
from mms.protocol import otf_message_handler as mms_python

from polyhost.container.worker.protocol import (
    FrontEndConnection,
    LoadCommand,
    PredictCommand,
    ProtocolError,
    encode_cancel,
    encode_load_reply,
    encode_loaded_reply,
    encode_predict_reply,
)
from polyhost.container.worker.types import Request, Response
from polyhost.handlers.body.forms import Field
from tests.container.mms_side import Parameter, Prediction, Reply, ReplyReader, Sent, load_command, predict_command

quick = settings(deadline=None, max_examples=60)  # a deadline would measure the machine's other work

TEXT = some.text(max_size=12)
NAME = some.text(min_size=1, max_size=12)
PARAMETER = some.builds(Parameter, NAME, some.binary(max_size=40), TEXT)
PARAMETERS = some.lists(PARAMETER, max_size=3, unique_by=lambda parameter: parameter.name)
BATCH = some.lists(some.builds(Sent, NAME, some.dictionaries(NAME, TEXT, max_size=3), PARAMETERS), max_size=3)
CUTS = some.sets(some.integers(1, 400), max_size=40)


def received(data: bytes, cuts: set[int] | None = None) -> list[LoadCommand | PredictCommand]:
    """Return the commands that FrontEndConnection reads from data that arrives in pieces, cut at these offsets.

    A SOCK_SEQPACKET socket keeps the pieces apart.
    """
    worker, mms = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with worker, mms:
        borders = [0, *sorted(cut for cut in cuts or () if cut < len(data)), len(data)]
        for start, end in itertools.pairwise(borders):
            mms.send(data[start:end])
        mms.close()
        connection = FrontEndConnection(worker)
        return list(iter(connection.receive, None))


def as_request(sent: Sent) -> Request:
    return Request(sent.id, sent.headers, {item.name: bytearray(item.value) for item in sent.parameters})


@quick
@given(BATCH, CUTS)
def test_any_split_of_a_batch_is_read(batch: list[Sent], cuts: set[int]) -> None:
    commands = received(predict_command(*batch), cuts)

    assert commands == [PredictCommand([as_request(sent) for sent in batch])]


def test_fields_of_a_form_keep_their_order_and_types_where_the_front_end_reads_forms() -> None:
    worker, mms = socket.socketpair()
    with worker, mms:
        parameters = [Parameter("a", b"1"), Parameter("file", b"1,2", "text/csv"), Parameter("a", b"2")]
        mms.sendall(predict_command(Sent("1", {"Content-Type": "multipart/form-data; boundary=x"}, parameters)))
        command = FrontEndConnection(worker, reads_forms=True).receive()
        assert isinstance(command, PredictCommand)
        (request,) = command.requests
        assert request.fields == [Field("a", b"1"), Field("file", b"1,2", "text/csv"), Field("a", b"2")]
        assert request.item == {"a": b"2", "file": b"1,2"}


def test_stream_ends_on_its_own_cancellation_only() -> None:
    """A cancellation of a stream that has ended already is ignored, wherever it comes."""
    worker, front_end = socket.socketpair()
    with worker:
        connection = FrontEndConnection(worker)
        assert not connection.is_cancelled("2")
        front_end.sendall(encode_cancel(b"1"))
        assert not connection.is_cancelled("2")
        front_end.sendall(encode_cancel(b"1") + encode_cancel(b"2") + encode_cancel(b"2"))
        assert connection.is_cancelled("2")
        front_end.sendall(predict_command())
        assert connection.wait_for_command()
        assert connection.receive() == PredictCommand([])
        front_end.close()
        assert not connection.wait_for_command()
        assert connection.is_cancelled("3")


def test_repeated_headers_are_read_from_the_cache() -> None:
    """Requests with more, fewer or other headers than the cached ones are read correctly as well."""
    same, other = {"a": "1", "b": "2"}, {"a": "1"}
    all_headers = [
        {**same, "id": "1"},
        {**same, "id": "2"},
        {**same, "c": "3", "id": "3"},
        {**other, "id": "4"},
        {},
        same,
    ]

    (command,) = received(predict_command(*(Sent("x", headers, []) for headers in all_headers)))

    assert isinstance(command, PredictCommand)
    assert [request.headers for request in command.requests] == all_headers


def test_last_value_of_a_duplicate_header_wins() -> None:
    twice = b"".join(len(text).to_bytes(4, "big") + text for text in (b"a", b"1", b"a", b"2"))
    request = (1).to_bytes(4, "big") + b"x" + twice + b"\xff" * 4 + b"\xff" * 4

    (command,) = received(b"I" + request * 3 + b"\xff" * 4)

    assert isinstance(command, PredictCommand)
    assert [request.headers for request in command.requests] == [{"a": "2"}] * 3


def test_waiting_leaves_the_command_in_the_socket() -> None:
    """A worker that is killed while it waits counts as idle: its replacement must find the command."""
    worker, mms = socket.socketpair()
    with worker, mms:
        mms.sendall(predict_command())
        assert FrontEndConnection(worker).wait_for_command()
        assert FrontEndConnection(worker).receive() == PredictCommand([])


@quick
@given(some.tuples(NAME, NAME, some.integers(1, 999), NAME, some.integers(-1, 9), NAME), CUTS)
def test_any_split_of_a_load_is_read(values: tuple[str, str, int, str, int, str], cuts: set[int]) -> None:
    name, path, batch_size, handler, gpu_id, io_name = values
    data = load_command(name, path, batch_size=batch_size, handler=handler, gpu_id=gpu_id, io_name=io_name)

    expected = LoadCommand(name, path, batch_size, handler, None if gpu_id < 0 else gpu_id, io_name)
    assert received(data, cuts) == [expected]


@quick
@given(some.lists(BATCH, max_size=4), CUTS)
def test_commands_in_one_piece_are_read_one_by_one(batches: list[list[Sent]], cuts: set[int]) -> None:
    commands = received(b"".join(predict_command(*batch) for batch in batches), cuts)

    assert commands == [PredictCommand([as_request(sent) for sent in batch]) for batch in batches]


@quick
@given(BATCH)
def test_mms_worker_reads_the_same(batch: list[Sent]) -> None:
    worker, mms = socket.socketpair()
    with worker, mms, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMS_DECODE_INPUT_REQUEST", "false")  # it would read bodies of JSON itself otherwise
        mms.sendall(predict_command(*batch))
        _, requests = mms_python.retrieve_msg(worker)

    read = [
        Request(
            request["requestId"].decode(),
            {header["name"].decode(): header["value"].decode() for header in request["headers"]},
            {parameter["name"]: parameter["value"] for parameter in request["parameters"]},
        )
        for request in requests
    ]
    assert [PredictCommand(read)] == received(predict_command(*batch))


def test_large_body() -> None:
    worker, mms = socket.socketpair()
    body = os.urandom(1 << 20) * 8
    with worker, mms:
        pid = os.fork()
        if pid == 0:
            mms.sendall(predict_command(Sent("r", {}, [Parameter("body", body)])))
            os._exit(0)
        command = FrontEndConnection(worker).receive()
        os.waitpid(pid, 0)

    assert isinstance(command, PredictCommand)
    assert command.requests[0].parameters["body"] == body


def test_end_inside_a_command_is_an_error() -> None:
    whole = predict_command(Sent("r1", {"a": "b"}, [Parameter("body", b"xyz")]))

    for length in range(1, len(whole)):
        with pytest.raises(ProtocolError, match="closed inside a command"):
            received(whole[:length])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"G", "unknown command b'G'"),
        (b"L\xff\xff\xff\xff", "length -1"),
        (b"I\xff\xff\xff\xfe", "length -2"),
    ],
)
def test_malformed_command_is_an_error(data: bytes, text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        received(data)


def read(reply: bytes) -> Reply:
    worker, mms = socket.socketpair()
    with worker, mms:
        worker.sendall(reply)
        worker.close()
        decoded = ReplyReader(mms).read()
        assert mms.recv(1) == b""
    return decoded


ANY_HEADERS = some.dictionaries(NAME, TEXT, max_size=3)


@quick
@given(some.lists(some.builds(Response, NAME, some.integers(200, 599), ANY_HEADERS, some.binary(), TEXT), max_size=3))
def test_java_decodes_every_response_of_a_batch(responses: list[Response]) -> None:
    expected = [
        Prediction(item.id, item.headers.get("content-type", ""), item.status, item.phrase, item.headers, item.body)
        for item in responses
    ]
    assert read(encode_predict_reply(responses)) == Reply(200, "", expected)


PHRASE = some.text("abc ", max_size=9)  # MMS counts the characters of a phrase, not its bytes
HEADERS = some.dictionaries(some.sampled_from(["content-type", "x-a", "x-b"]), some.text("abc/;", max_size=9))


@quick
@given(some.lists(some.builds(Response, NAME, some.integers(200, 599), HEADERS, some.binary(), PHRASE), max_size=3))
def test_predict_replies_equal_those_of_the_mms_worker(responses: list[Response]) -> None:
    context = Context("m", "/m", None, 1, None, "1")
    context.request_processor = [RequestProcessor({}) for _ in responses]
    for index, response in enumerate(responses):
        context.set_response_status(response.status, response.phrase, index)
        for name, value in response.headers.items():
            context.set_response_header(index, name, value)
    ids = {index: response.id for index, response in enumerate(responses)}

    bodies = [response.body for response in responses]
    assert encode_predict_reply(responses) == mms_python.create_predict_response(bodies, ids, "", 200, context)


@quick
@given(some.integers(200, 599), some.text())
def test_load_replies_equal_those_of_the_mms_worker(status: int, message: str) -> None:
    assert encode_load_reply(status, message) == mms_python.create_load_model_response(status, message)
    assert read(encode_load_reply(status, message)) == Reply(status, message, [])


def test_load_reply_has_the_pid_where_java_reads_it() -> None:
    message = read(encode_loaded_reply(4711)).message

    assert int(message[message.index("[PID]:") + 6 :]) == 4711  # WorkerThread.java


def test_load_reply_with_a_file_name_that_is_not_utf_8() -> None:
    assert "caf" in read(encode_load_reply(500, "no file 'caf\udce9.csv'")).message
