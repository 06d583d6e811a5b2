"""Messages of the control protocol: whole, in order, with their descriptors."""

import dataclasses
import os

import pytest

from polyhost.container.control_protocol import (
    Channel,
    Exited,
    ForkFailed,
    ForkRequest,
    Message,
    MessageError,
    ModelRef,
    Ready,
    Started,
)

REQUEST = ForkRequest(
    sequence=7, model=ModelRef("größe", "/m", "h.py"), temp_dir="/t", io_dir="/io", memory_bytes=1 << 40,
    reload=True, gpu_id=0, batch_size=4, backoff_s=1.5, reason="a \"quoted\"\nreason",
)  # fmt: skip


@pytest.mark.parametrize(
    "message",
    [REQUEST, Ready(1.25, {"torch": "ImportError: no"}), Started(1, 2), Exited(1, 2, 139), ForkFailed(1, "no memory")],
    ids=lambda message: type(message).__name__,
)
def test_message_is_received_as_sent(message: Message) -> None:
    ours, theirs = Channel.pair()
    ours.send(message)

    assert theirs.receive() == (message, [])
    ours.close()
    theirs.close()


def test_descriptors_are_received_and_not_inheritable() -> None:
    ours, theirs = Channel.pair()
    reader, writer = os.pipe()
    ours.send(REQUEST, (writer,))
    os.close(writer)

    received = theirs.receive()

    assert received is not None
    _, (arrived,) = received
    os.write(arrived, b"through")
    assert os.read(reader, 100) == b"through"
    assert not os.get_inheritable(arrived)
    for descriptor in (reader, arrived):
        os.close(descriptor)
    ours.close()
    theirs.close()


def test_message_boundaries_are_kept_up_to_the_end() -> None:
    ours, theirs = Channel.pair()
    for sequence in range(50):
        ours.send(Started(sequence, 1))
    ours.close()

    assert [theirs.receive() for _ in range(51)] == [*((Started(item, 1), []) for item in range(50)), None]
    theirs.close()


def test_sending_to_a_closed_end_is_an_error() -> None:
    ours, theirs = Channel.pair()
    theirs.close()

    with pytest.raises(BrokenPipeError):
        ours.send(REQUEST)
    ours.close()


def test_end_with_messages_unread_loses_no_message() -> None:
    ours, theirs = Channel.pair()
    ours.send(REQUEST)
    theirs.send(Started(1, 2))
    theirs.close()

    assert [ours.receive(), ours.receive()] == [(Started(1, 2), []), None]
    ours.close()


def test_too_long_message_is_an_error_on_both_ends() -> None:
    ours, theirs = Channel.pair()
    with pytest.raises(MessageError, match="a ForkRequest message of"):
        ours.send(dataclasses.replace(REQUEST, reason="x" * 70_000))
    ours.socket.send(b"x" * 70_000)
    ours.send(REQUEST)

    with pytest.raises(MessageError, match="xxx"):
        theirs.receive()
    assert theirs.receive() == (REQUEST, [])
    ours.close()
    theirs.close()
