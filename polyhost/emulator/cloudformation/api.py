"""CloudFormation's API: operations on stacks here, those on stack sets in moto."""

import logging
from collections.abc import Mapping

from polyhost.emulator.api.asgi import (
    AsgiApplication,
    ClientDisconnected,
    Receive,
    RequestHeaders,
    Scope,
    Send,
    read_body,
    send_response,
)
from polyhost.emulator.api.sigv4 import credential_scope
from polyhost.emulator.api.waiters import is_from_waiter
from polyhost.emulator.cloudformation.change_set_operations import ChangeSetOperations
from polyhost.emulator.cloudformation.operations import StackOperation, StackOperations
from polyhost.emulator.cloudformation.query_protocol import CONTENT_TYPE, QueryProtocol, encode_error
from polyhost.emulator.cloudformation.requests import StackRequest
from polyhost.emulator.cloudformation.stacks import Stacks
from polyhost.emulator.errors import AwsError

_MAX_BODY_BYTES = 2_000_000

logger = logging.getLogger(__name__)


class CloudFormationApi:
    """An ASGI application. `others` answers what is not for CloudFormation, and its operations on stack sets."""

    def __init__(self, stacks: Stacks, others: AsgiApplication) -> None:
        self._others = others
        self._protocol = QueryProtocol()
        self._operations: Mapping[str, StackOperation] = {
            **StackOperations(stacks).operations,
            **ChangeSetOperations(stacks).operations,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: RequestHeaders = dict(scope["headers"])
        region, service = credential_scope(headers)
        if service != "cloudformation" or scope["method"] != "POST":
            await self._others(scope, receive, send)
            return
        try:
            body = await read_body(receive, _MAX_BODY_BYTES)
        except ClientDisconnected:
            return
        form = self._protocol.form(body)
        name = form.get("Action", "")
        if operation := self._operations.get(name):
            await self._run(operation, name, form, region, headers, send)
        else:
            await self._others(scope, _Replay(body), send)

    async def _run(
        self,
        operation: StackOperation,
        name: str,
        form: dict[str, str],
        region: str,
        headers: RequestHeaders,
        send: Send,
    ) -> None:
        try:
            members = self._protocol.parse(name, form)
            response = await operation(StackRequest(region, members, is_from_waiter(headers)))
            status, content = 200, self._protocol.encode(name, response)
        except AwsError as error:
            status, content = error.status, encode_error(error)
        except Exception as error:
            logger.exception("operation %s of cloudformation failed", name)
            status, content = 500, encode_error(AwsError(f"the emulator failed: {error!r}"))
        await send_response(send, status, [(b"content-type", CONTENT_TYPE)], content)


class _Replay:
    """The rest of a request whose body was read, for another application."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __call__(self) -> dict[str, object]:
        return {"type": "http.request", "body": self._body, "more_body": False}
