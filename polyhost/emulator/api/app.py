"""One port for everything: requests go to the control plane, the runtime, the dashboard, or moto."""

import asyncio
import logging

from polyhost.emulator.api.access import AccessPolicy
from polyhost.emulator.api.asgi import (
    AsgiApplication,
    ClientDisconnected,
    Receive,
    RequestHeaders,
    Scope,
    Send,
    StreamedResponse,
    read_body,
    send_error,
    send_response,
    wait_for_disconnect,
)
from polyhost.emulator.api.async_runtime import MAX_BODY_BYTES as MAX_ASYNC_BODY_BYTES
from polyhost.emulator.api.async_runtime import AsyncRuntime
from polyhost.emulator.api.control_plane.dispatcher import ControlPlane
from polyhost.emulator.api.runtime import MAX_BODY_BYTES, Runtime, RuntimeResponse
from polyhost.emulator.api.sigv4 import credential_scope
from polyhost.emulator.api.waiters import is_from_waiter
from polyhost.emulator.errors import AwsError

_OWN_PATH = "/_polyhost"
_TARGET_PREFIX = b"SageMaker."
_ENDPOINTS_PATH = "/endpoints/"
_CONTROL_PLANE_TYPE = b"application/x-amz-json-1.1"
_RUNTIME_TYPE = b"application/json"

logger = logging.getLogger(__name__)


class EmulatorApp:
    """An ASGI application. `own` serves all paths below /_polyhost, `moto` all of AWS apart from hosting."""

    def __init__(
        self,
        control_plane: ControlPlane,
        runtime: Runtime,
        async_runtime: AsyncRuntime,
        own: AsgiApplication,
        moto: AsgiApplication,
        access: AccessPolicy,
    ) -> None:
        self._control_plane = control_plane
        self._runtime = runtime
        self._async_runtime = async_runtime
        self._own = own
        self._moto = moto
        self._access = access
        self._invocations = {
            "invocations": self._invoke,
            "invocations-response-stream": self._stream,
            "async-invocations": self._invoke_async,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        headers: RequestHeaders = dict(scope["headers"])
        try:
            self._access.check(headers)
        except AwsError as error:
            await send_error(send, error, b"application/json", "message")
            return
        if path.startswith(_ENDPOINTS_PATH) and scope["method"] == "POST":
            region, service = credential_scope(headers)
            name, _, action = path[len(_ENDPOINTS_PATH) :].partition("/")
            # Other services have paths of this form too; an unsigned request is taken for one to SageMaker.
            if service in ("sagemaker", "") and (invoke := self._invocations.get(action)):
                await invoke(region, name, headers, receive, send)
                return
        if headers.get(b"x-amz-target", b"").startswith(_TARGET_PREFIX):
            await self._call_control_plane(headers, receive, send)
        elif path.startswith(_OWN_PATH):
            await self._own(scope, receive, send)
        elif path == "/" and b"authorization" not in headers and b"text/html" in headers.get(b"accept", b""):
            await send_response(send, 307, [(b"location", f"{_OWN_PATH}/".encode())], b"")
        else:
            await self._moto(scope, receive, send)

    async def _invoke(self, region: str, name: str, headers: RequestHeaders, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(receive, MAX_BODY_BYTES)
            response: RuntimeResponse = await self._runtime.invoke(region, name, headers, body)
        except AwsError as error:
            await send_error(send, error, _RUNTIME_TYPE, "Message")
        except ClientDisconnected:
            return
        except Exception as error:
            logger.exception("the invocation of endpoint %s failed", name)
            await send_error(send, _internal_failure(error), _RUNTIME_TYPE, "Message")
        else:
            await send_response(send, 200, response.headers, response.body)

    async def _stream(self, region: str, name: str, headers: RequestHeaders, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(receive, MAX_BODY_BYTES)
        except ClientDisconnected:
            return
        work = asyncio.create_task(self._relay(region, name, headers, body, send))
        disconnect = asyncio.create_task(wait_for_disconnect(receive))
        try:
            # When the client disconnects, the connection to the container is closed too, so that it can stop computing.
            await asyncio.wait({work, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            disconnect.cancel()
            await asyncio.gather(work, disconnect, return_exceptions=True)

    async def _relay(self, region: str, name: str, headers: RequestHeaders, body: bytes, send: Send) -> None:
        response = StreamedResponse(send)
        try:
            await self._runtime.stream(region, name, headers, body, response)
        except AwsError as error:
            await send_error(send, error, _RUNTIME_TYPE, "Message")
        except Exception as error:
            logger.exception("the streamed invocation of endpoint %s failed", name)
            await send_error(send, _internal_failure(error), _RUNTIME_TYPE, "Message")
        else:
            await response.end()

    async def _invoke_async(
        self, region: str, name: str, headers: RequestHeaders, receive: Receive, send: Send
    ) -> None:
        try:
            body = await read_body(receive, MAX_ASYNC_BODY_BYTES)
            response_headers, content = await self._async_runtime.invoke(region, name, headers, body)
        except AwsError as error:
            await send_error(send, error, _RUNTIME_TYPE, "Message")
        except ClientDisconnected:
            return
        except Exception as error:
            logger.exception("the asynchronous invocation of endpoint %s failed", name)
            await send_error(send, _internal_failure(error), _RUNTIME_TYPE, "Message")
        else:
            await send_response(send, 202, response_headers, content)

    async def _call_control_plane(self, headers: RequestHeaders, receive: Receive, send: Send) -> None:
        region, _ = credential_scope(headers)
        operation = headers[b"x-amz-target"][len(_TARGET_PREFIX) :].decode("latin-1")
        try:
            body = await read_body(receive, MAX_BODY_BYTES)
            content = await self._control_plane.call(region, operation, body, is_from_waiter(headers))
        except AwsError as error:
            await send_error(send, error, _CONTROL_PLANE_TYPE, "message")
        except ClientDisconnected:
            return
        except Exception as error:
            logger.exception("operation %s failed", operation)
            await send_error(send, _internal_failure(error), _CONTROL_PLANE_TYPE, "message")
        else:
            await send_response(send, 200, [(b"content-type", _CONTROL_PLANE_TYPE)], content)


def _internal_failure(error: Exception) -> AwsError:
    return AwsError(f"the emulator failed: {error!r}")
