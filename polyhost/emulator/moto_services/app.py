"""moto's services as an ASGI application."""

import asyncio
import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import IO, Any, cast

from a2wsgi.wsgi import build_environ

from polyhost.emulator.api.asgi import ClientDisconnected, Receive, RequestHeaders, Scope, Send
from polyhost.emulator.errors import AwsError
from polyhost.emulator.moto_services.bodies import BodyLimits, receive_body
from polyhost.emulator.moto_services.errors import MotoResponse
from polyhost.emulator.moto_services.moto_server import MotoServer
from polyhost.emulator.moto_services.saving import SavingMotoServer
from polyhost.emulator.moto_services.state.moto_state import MotoState

_THREADS = 16
_PIECE_BYTES = 1 << 20


class MotoServices:
    """An ASGI application. A thread is taken for moto's own work only, never while a client sends or receives.

    `parts` of the emulator are what its own operations find in a WSGI request, by their keys.
    """

    def __init__(
        self, limits: BodyLimits, state: MotoState | None = None, parts: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self._limits = limits
        self._parts = dict(parts)
        self._moto = MotoServer() if state is None else SavingMotoServer(state)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="moto")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: RequestHeaders = dict(scope["headers"])
        try:
            body = await receive_body(receive, headers, self._limits)
        except ClientDisconnected:
            return
        except AwsError as error:
            response = self._moto.reject(_environ(scope, io.BytesIO()), error)
            response.headers.append((b"connection", b"close"))  # the rest of the body is not read
        else:
            with body:
                environ = _environ(scope, body) | self._parts
                loop = asyncio.get_running_loop()
                response = await loop.run_in_executor(self._threads, self._moto.respond, environ)
        await _send_response(send, response)


def _environ(scope: Scope, body: IO[bytes]) -> dict[str, Any]:
    environ = dict(build_environ(cast(Any, scope), cast(Any, body)))
    environ.pop("HTTP_TRANSFER_ENCODING", None)  # has been decoded
    environ["CONTENT_LENGTH"] = str(body.seek(0, io.SEEK_END))
    body.seek(0)
    return environ


async def _send_response(send: Send, response: MotoResponse) -> None:
    await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
    for chunk in response.chunks:
        # In pieces: whatever is sent at once is copied, and a client may be slow.
        for start in range(0, len(chunk), _PIECE_BYTES):
            piece = chunk[start : start + _PIECE_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
