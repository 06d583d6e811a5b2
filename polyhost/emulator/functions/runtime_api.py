"""Lambda's runtime interface (developer guide, runtimes-api), as one environment sees it: a server of its own."""

import asyncio
import json
import time

from aiohttp import web

from polyhost.emulator.functions.invocation import FunctionCall, FunctionResult

MAX_RESPONSE_BYTES = 6 << 20
# Lambda's message names this limit, 100 bytes above the documented one.
_TOO_LARGE = "Response payload size exceeded maximum allowed payload size (6291556 bytes)."
_READ_BYTES = 64 << 20  # what is read of a response that is too large, so that the runtime goes on
_BASE = "/2018-06-01/runtime"


class RuntimeApi:
    """Hands calls to the runtime that connects, one at a time, and takes its results."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()  # the runtime has asked for its first call
        self.init_error: asyncio.Future[FunctionResult] = asyncio.get_running_loop().create_future()
        self.address = ""
        self._calls: asyncio.Queue[tuple[FunctionCall, float]] = asyncio.Queue()
        self._request_id = ""
        self._result: asyncio.Future[FunctionResult] | None = None
        app = web.Application(client_max_size=_READ_BYTES)
        app.add_routes(
            [
                web.get(f"{_BASE}/invocation/next", self._next),
                web.post(f"{_BASE}/invocation/{{id}}/response", self._respond),
                web.post(f"{_BASE}/invocation/{{id}}/error", self._fail),
                web.post(f"{_BASE}/init/error", self._fail_init),
            ]
        )
        # A runtime that is killed while it waits for a call must not hold the server's end up.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)

    async def start(self) -> None:
        """Listen on a port of its own: the runtime's client takes an address, not a path."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.address = f"{host}:{port}"

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def call(self, call: FunctionCall, timeout_s: float) -> FunctionResult:
        """Have the runtime run a call. Without a result this waits until it is cancelled."""
        self._request_id = call.request_id
        self._result = asyncio.get_running_loop().create_future()
        self._calls.put_nowait((call, time.time() + timeout_s))
        try:
            return await self._result
        finally:
            self._request_id, self._result = "", None

    async def _next(self, request: web.Request) -> web.Response:
        self.ready.set()
        call, deadline = await self._calls.get()
        headers = {
            "Lambda-Runtime-Aws-Request-Id": call.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": call.arn,
            "Lambda-Runtime-Trace-Id": call.trace_id,
        }
        if call.client_context:
            headers["Lambda-Runtime-Client-Context"] = call.client_context
        return web.Response(body=call.payload, headers=headers, content_type="application/json")

    async def _respond(self, request: web.Request) -> web.Response:
        payload = await request.read()
        if len(payload) > MAX_RESPONSE_BYTES:
            error = {"errorMessage": _TOO_LARGE, "errorType": "Function.ResponseSizeTooLarge"}
            return self._take(request, FunctionResult(json.dumps(error).encode(), error["errorType"]))
        return self._take(request, FunctionResult(payload))

    async def _fail(self, request: web.Request) -> web.Response:
        return self._take(request, await _error(request))

    async def _fail_init(self, request: web.Request) -> web.Response:
        error = await _error(request)
        if not self.init_error.done():
            self.init_error.set_result(error)
        return web.json_response({"status": "OK"}, status=202)

    def _take(self, request: web.Request, result: FunctionResult) -> web.Response:
        if self._result is None or self._result.done() or request.match_info["id"] != self._request_id:
            return web.json_response(
                {"errorMessage": "Invalid request ID", "errorType": "InvalidRequestID"}, status=400
            )
        self._result.set_result(result)
        return web.json_response({"status": "OK"}, status=202)


async def _error(request: web.Request) -> FunctionResult:
    payload = await request.read()
    error_type = request.headers.get("Lambda-Runtime-Function-Error-Type", "")
    try:
        error_type = json.loads(payload)["errorType"]
    except (ValueError, TypeError, KeyError):
        pass  # another runtime than Python's may send what it likes
    return FunctionResult(payload, str(error_type or "Unhandled"))
