"""Multi Model Server behind the router: its models as the cache loads them, and as clients invoke them."""

import asyncio
import itertools
import json
import os
from collections.abc import Sequence
from http import HTTPStatus

from polyhost.container.native.decoder import WorkerResponse
from polyhost.container.native.errors import Rejection
from polyhost.container.native.exchange import Exchange
from polyhost.container.native.invocation import Caller, Invocation
from polyhost.container.native.model_server import LoadResponse
from polyhost.container.native.parser import Header, HttpRequest
from polyhost.container.router.connections import MmsConnections, MmsResponse
from polyhost.model_cache.background import BackgroundTasks
from polyhost.model_cache.errors import ContainerGoneError, ContainerTimeoutError

_MARGIN_S = 60.0  # MMS and the fork server keep their own limits, and say more
_UNLOAD_S = 360.0
_PING_S, _POLL_S = 2.0, 0.1
_NOT_PASSED = frozenset(
    {b"host", b"connection", b"content-length", b"transfer-encoding", b"keep-alive", b"expect", b"upgrade", b"te"}
)
_NOT_RETURNED = frozenset({b"connection", b"content-length", b"transfer-encoding", b"keep-alive", b"x-request-id"})


class MmsBackend:
    """A `ModelServer` for the cache, and the `Backend` of the routes."""

    def __init__(self, port: int, response_timeout_s: float, load_timeout_s: float) -> None:
        self._connections = MmsConnections(port)
        self._response_timeout_s = response_timeout_s + _MARGIN_S
        self._load_timeout_s = load_timeout_s + _MARGIN_S
        self._ids = itertools.count(1)
        self._prefix = os.urandom(4).hex().encode()
        self._up = asyncio.Event()
        self._background = BackgroundTasks()

    async def close(self) -> None:
        await self._background.close()
        self._connections.close()

    async def ping(self) -> bool:
        """Return whether MMS answers."""
        try:
            return (await self._send(b"GET", b"/ping", [], b"", _PING_S)).status == HTTPStatus.OK
        except (ContainerGoneError, ContainerTimeoutError):
            return False

    async def wait_until_up(self) -> None:
        """Return when MMS answers for the first time; loads wait for that."""
        while not await self.ping():
            await asyncio.sleep(_POLL_S)
        self._up.set()

    # ModelServer

    async def load(self, key: str, url: str, target_model: str) -> LoadResponse:
        await self._up.wait()
        body = json.dumps({"model_name": key, "url": url}).encode()
        headers = [(b"Content-Type", b"application/json")]
        response = await self._send(b"POST", b"/models", headers, body, self._load_timeout_s)
        return LoadResponse(response.status, response.body)

    async def unload(self, key: str) -> LoadResponse:
        response = await self._send(b"DELETE", b"/models/%b" % key.encode(), [], b"", _UNLOAD_S)
        return LoadResponse(response.status, response.body)

    # Backend

    def submit(self, key: str, request: HttpRequest, exchange: Exchange, caller: Caller) -> None:
        """Pass a request on to a loaded model."""
        request_id = b"%b-%08x" % (self._prefix, next(self._ids))
        invocation = exchange.invocation = Invocation(request_id, b"", self, caller, request.arrived)
        headers = [header for header in request.headers if header[0].lower() not in _NOT_PASSED]
        path = b"/models/%b/invoke" % key.encode()
        if request.query:
            path += b"?" + request.query
        self._background.start(self._pass_on(path, headers, request.body, invocation))

    def memory_of(self, key: str) -> int | None:
        """Return None: MMS does not know what a model takes."""
        return None

    def on_cancelled(self, invocation: Invocation) -> None:
        """Let MMS finish it: a connection that ends does not stop a model."""

    async def _pass_on(self, path: bytes, headers: list[Header], body: bytes, invocation: Invocation) -> None:
        try:
            response = await self._send(b"POST", path, headers, body, self._response_timeout_s)
        except (ContainerGoneError, ContainerTimeoutError) as error:
            late = isinstance(error, ContainerTimeoutError)
            status = HTTPStatus.GATEWAY_TIMEOUT if late else HTTPStatus.BAD_GATEWAY
            if not invocation.cancelled:
                invocation.caller.on_rejected(invocation, Rejection(status, type(error).__name__, str(error)))
            return
        if not invocation.cancelled:
            returned = [header for header in response.headers if header[0].lower() not in _NOT_RETURNED]
            invocation.caller.on_response(
                invocation,
                WorkerResponse(invocation.id, response.status, response.phrase, returned, response.body),
            )

    async def _send(
        self, method: bytes, path: bytes, headers: Sequence[Header], body: bytes, timeout_s: float
    ) -> MmsResponse:
        """Return MMS's response. Raises ContainerGoneError or ContainerTimeoutError."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._connections.request(method, path, headers, body)
        except TimeoutError:
            raise ContainerTimeoutError(f"Multi Model Server has not answered within {timeout_s:g} s") from None
        except OSError as error:
            raise ContainerGoneError(f"Multi Model Server gave no answer: {error}") from None
