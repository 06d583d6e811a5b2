import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence

from hypothesis import example, given
from hypothesis import strategies as some

from polyhost.container.native.encoder import (
    Header,
    encode_command,
    encode_headers,
    encode_invocation,
    encode_parameters,
)
from polyhost.container.worker.protocol import FrontEndConnection, PredictCommand, ProtocolError

# A header's name is a token, its value any bytes but a few (RFC 9110, 5); httptools lets through no others.
names = some.text("abcXYZ-0129!#$%&'*+.^_`|~", min_size=1, max_size=10).map(str.encode)
values = some.binary(max_size=30)
headers = some.lists(some.tuples(names, values), max_size=5)
parameters = some.lists(some.tuples(some.text(max_size=10), some.text(max_size=10)), max_size=4)
invocations = some.lists(some.tuples(names, headers, parameters, some.binary(max_size=300)), min_size=1, max_size=4)


@contextlib.contextmanager
def sending(data: bytes) -> Iterator[FrontEndConnection]:
    """Provide a worker's end of a connection that receives the data and is then closed."""
    ours, workers = socket.socketpair()
    with workers:

        def send() -> None:
            with ours, contextlib.suppress(OSError):
                ours.sendall(data)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield FrontEndConnection(workers)
        finally:
            workers.close()
            thread.join()


@given(invocations)
@example([(b"id", [(b"X-Name", b"caf\xe9")], [], b"{}")])
@example([(b"id", [], [("body", "not this")], b"the body")])
def test_worker_reads_what_the_front_end_writes(
    invocations: Sequence[tuple[bytes, Sequence[Header], Sequence[tuple[str, str]], bytes]],
) -> None:
    encoded = [
        encode_invocation(name, encode_headers(sent), encode_parameters(query), body)
        for name, sent, query, body in invocations
    ]
    with sending(b"".join(encode_command(encoded))) as connection:
        command = connection.receive()
        assert isinstance(command, PredictCommand)
        for request, (name, sent, query, body) in zip(command.requests, invocations, strict=True):
            assert request.id == name.decode()
            expected = {key.decode(): value.decode("latin-1") for key, value in sent}
            assert request.headers == {**expected, "x-request-id": name.decode()}
            assert request.parameters == {**{key: value.encode() for key, value in query}, "body": body}
        assert connection.receive() is None


@given(some.binary(max_size=300))
def test_garbage_raises_a_protocol_error(garbage: bytes) -> None:
    with sending(garbage) as connection, contextlib.suppress(ProtocolError, UnicodeDecodeError):
        while connection.receive() is not None:
            pass


@given(invocations, some.data())
def test_command_with_a_wrong_byte_is_read_or_rejected(
    invocations: Sequence[tuple[bytes, Sequence[Header], Sequence[tuple[str, str]], bytes]], data: some.DataObject
) -> None:
    encoded = [
        encode_invocation(name, encode_headers(sent), encode_parameters(query), body)
        for name, sent, query, body in invocations
    ]
    command = bytearray(b"".join(encode_command(encoded)))
    command[data.draw(some.integers(0, len(command) - 1))] ^= data.draw(some.integers(1, 255))
    with sending(bytes(command)) as connection, contextlib.suppress(ProtocolError, UnicodeDecodeError):
        while connection.receive() is not None:
            pass
