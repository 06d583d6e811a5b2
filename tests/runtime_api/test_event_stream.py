"""Event stream messages, read by botocore."""

from botocore.eventstream import EventStreamBuffer

from polyhost.runtime_api.event_stream import event_message, exception_message


def test_messages_are_read_by_botocore() -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(
        event_message("PayloadPart", b"\x00chunk") + exception_message("ModelStreamError", {"Message": "é"})
    )
    event, exception = buffer
    assert event.headers == {
        ":message-type": "event",
        ":event-type": "PayloadPart",
        ":content-type": "application/octet-stream",
    }
    assert event.payload == b"\x00chunk"
    assert exception.headers[":exception-type"] == "ModelStreamError"
    assert exception.payload == b'{"Message": "\\u00e9"}'
