"""What is behind an API's method: a function, or a fixed response."""

import asyncio
import json
import logging
import re
from collections.abc import Mapping
from typing import Any

from polyhost.emulator.errors import AwsError
from polyhost.emulator.functions.invocation import MAX_PAYLOAD_BYTES, FunctionCall
from polyhost.emulator.functions.service import Functions
from polyhost.emulator.functions.spec import FunctionReference
from polyhost.emulator.gateway.http_types import SiteRequest, SiteResponse, message_response
from polyhost.emulator.gateway.payload_v1 import MalformedResponseError, event_of, is_binary, response_of
from polyhost.emulator.gateway.routes import Route

TIMEOUT_S = 29.0  # API Gateway developer guide, limits
FUNCTION_URI = re.compile(r"arn:[^:]+:apigateway:[^:]+:lambda:path/[^/]+/functions/(?P<arn>.+)/invocations")
_STAGE_VARIABLE = re.compile(r"\$\{stageVariables\.([^}]+)\}")

logger = logging.getLogger(__name__)


class Integrations:
    """Calls what a route names."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    async def respond(self, route: Route, request: SiteRequest, api_key: tuple[str, str] | None) -> SiteResponse:
        """Return the response of the route's integration, or one of API Gateway's for what fails."""
        integration = route.method.method_integration
        kind = str(integration.integration_type).upper() if integration is not None else ""
        if kind == "MOCK":
            return _mock_response(integration)
        if (
            kind != "AWS_PROXY"
            or (found := FUNCTION_URI.fullmatch(with_variables(integration.uri, route.stage.variables))) is None
        ):
            logger.warning(
                "the integration of %s %s of API %s is %r; the emulator has AWS_PROXY of functions and MOCK",
                *(request.method, route.resource_path, route.api.id, kind or "missing"),
            )
            return message_response(500, "Internal server error")
        reference = FunctionReference.parse(found["arn"], route.region)
        binary = is_binary(request.header("content-type"), route.binary_types)
        event = event_of(request, route.target(request.path), binary, api_key)
        timeout_s = float(integration.timeout_in_millis or TIMEOUT_S * 1000) / 1000
        return await self._call(reference, event, timeout_s, route, request.header("accept"))

    async def _call(
        self, reference: FunctionReference, event: dict[str, Any], timeout_s: float, route: Route, accept: str | None
    ) -> SiteResponse:
        call = FunctionCall(reference.arn, json.dumps(event).encode())
        if len(call.payload) > MAX_PAYLOAD_BYTES:
            return message_response(413, "Request Too Long")
        try:
            async with asyncio.timeout(timeout_s):
                _, result = await self._functions.invoke(reference, call)
        except TimeoutError:
            return message_response(504, "Endpoint request timed out")
        except AwsError as error:
            logger.warning("API %s cannot call function %s: %s", route.api.id, reference.arn, error)
            return message_response(500, "Internal server error")
        try:
            if result.failed:
                raise MalformedResponseError(f"it is the error {result.error_type}")
            return response_of(_parsed(result.payload), route.binary_types, accept)
        except MalformedResponseError as error:
            logger.warning("the response of function %s to API %s: %s", reference.arn, route.api.id, error)
            return message_response(502, "Internal server error")


def with_variables(uri: str | None, variables: Mapping[str, Any]) -> str:
    """Return an integration's address, with the stage's variables in it."""
    return _STAGE_VARIABLE.sub(lambda found: str(variables.get(found[1], "")), uri or "")


def _parsed(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise MalformedResponseError(f"it is not JSON: {error}") from error


def _mock_response(integration: Any) -> SiteResponse:
    """Return the integration's own response: that of status 200, or its first one."""
    responses = integration.integration_responses or {}
    if not responses:
        return message_response(500, "Internal server error")
    chosen = responses.get("200") or next(iter(responses.values()))
    headers = [
        (name.removeprefix("method.response.header."), value[1:-1])
        for name, value in (chosen.response_parameters or {}).items()
        if name.startswith("method.response.header.") and value[:1] == value[-1:] == "'"
    ]
    body = str((chosen.response_templates or {}).get("application/json") or "").strip()
    return SiteResponse(int(chosen.status_code), [("Content-Type", "application/json"), *headers], body.encode())
