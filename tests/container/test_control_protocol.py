"""Messages between the fork server and a zygote: whole, in order, with their descriptors."""

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
def test_a_message_arrives_as_it_was(message: Message) -> None:
    ours, theirs = Channel.pair()
    ours.send(message)

    assert theirs.receive() == (message, [])
    ours.close()
    theirs.close()


def test_descriptors_travel_and_stay_closed_to_programs_that_are_started() -> None:
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


def test_messages_keep_their_borders_and_then_comes_the_end() -> None:
    ours, theirs = Channel.pair()
    for sequence in range(50):
        ours.send(Started(sequence, 1))
    ours.close()

    assert [theirs.receive() for _ in range(51)] == [*((Started(item, 1), []) for item in range(50)), None]
    theirs.close()


def test_sending_to_nobody_is_an_error() -> None:
    ours, theirs = Channel.pair()
    theirs.close()

    with pytest.raises(BrokenPipeError):
        ours.send(REQUEST)
    ours.close()


def test_who_ends_with_messages_unread_has_still_been_heard() -> None:
    ours, theirs = Channel.pair()
    ours.send(REQUEST)
    theirs.send(Started(1, 2))
    theirs.close()

    assert [ours.receive(), ours.receive()] == [(Started(1, 2), []), None]
    ours.close()


def test_a_message_too_long_is_not_sent_and_one_that_comes_all_the_same_is_refused() -> None:
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
