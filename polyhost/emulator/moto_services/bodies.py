"""Requests' bodies, received before a thread is taken for them: a client may stop sending in the middle of one."""

import asyncio
import tempfile
from dataclasses import dataclass
from typing import IO

from polyhost.emulator.api.asgi import ClientDisconnected, Receive, RequestHeaders
from polyhost.emulator.errors import EntityTooLarge, RequestTimeout

_IN_MEMORY_BYTES = 1 << 20


@dataclass(frozen=True)
class BodyLimits:
    """`max_bytes` is what S3 takes in one request; `silence_s` is how long a client may send nothing."""

    max_bytes: int = 5 << 30
    silence_s: float = 60.0


async def receive_body(receive: Receive, headers: RequestHeaders, limits: BodyLimits) -> IO[bytes]:
    """Return a request's whole body as a file, on disk if it is large.

    Raises EntityTooLarge, RequestTimeout and ClientDisconnected.
    """
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > limits.max_bytes:
        raise _too_large()
    body = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 - the caller closes it
    try:
        await _receive_into(body, receive, limits)
    except BaseException:
        body.close()
        raise
    body.seek(0)
    return body


async def _receive_into(body: IO[bytes], receive: Receive, limits: BodyLimits) -> None:
    size = 0
    while True:
        try:
            message = await asyncio.wait_for(receive(), limits.silence_s)
        except TimeoutError:
            raise RequestTimeout(
                "Your socket connection to the server was not read from or written to within the timeout period. "
                "Idle connections will be closed."
            ) from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limits.max_bytes:
            raise _too_large()
        body.write(chunk)
        if not message.get("more_body"):
            return


def _too_large() -> EntityTooLarge:
    return EntityTooLarge("Your proposed upload exceeds the maximum allowed size")
