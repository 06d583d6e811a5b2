"""HTTP APIs (API Gateway v2): routing, CORS, limits, and functions behind the routes."""

import asyncio
import json
import logging
from typing import Any

from polyhost.emulator.errors import AwsError
from polyhost.emulator.functions.errors import TooManyRequests
from polyhost.emulator.functions.invocation import MAX_PAYLOAD_BYTES, FunctionCall
from polyhost.emulator.functions.service import Functions
from polyhost.emulator.functions.spec import FunctionReference
from polyhost.emulator.gateway.cors import CorsSettings
from polyhost.emulator.gateway.http_api_content import HttpApi, HttpRoute, match
from polyhost.emulator.gateway.http_types import SiteRequest, SiteResponse, message_response
from polyhost.emulator.gateway.integrations import FUNCTION_URI, with_variables
from polyhost.emulator.gateway.payload_v1 import MalformedResponseError, event_of, response_of
from polyhost.emulator.gateway.payload_v2 import event_v2_of, is_not_text, response_v2_of
from polyhost.emulator.gateway.token_buckets import TokenBuckets

_NOT_FOUND = message_response(404, "Not Found")
_FAILED = message_response(500, "Internal Server Error")
_UNAVAILABLE = message_response(503, "Service Unavailable")
_ALL_TYPES = ("*/*",)  # an HTTP API decodes each response that says it is base64

logger = logging.getLogger(__name__)


class HttpApis:
    """Answers requests to stages of HTTP APIs."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions
        self._limits = TokenBuckets()

    async def respond(self, api: HttpApi, stage_name: str, request: SiteRequest) -> SiteResponse:
        """Return the response, whatever goes wrong."""
        stage = api.record.stages.get(stage_name)
        if stage is None or api.record.disable_execute_api_endpoint:
            return _NOT_FOUND
        if not api.record.cors_configuration:
            return await self._routed(api, stage, request)
        cors = CorsSettings.of(api.record.cors_configuration)
        if cors.is_preflight(request):
            return SiteResponse(204, cors.preflight_headers(request))
        response = await self._routed(api, stage, request)
        # The function's own are ignored (developer guide, http-api-cors).
        others = [item for item in response.headers if not item[0].lower().startswith("access-control-")]
        return SiteResponse(response.status, [*others, *cors.headers(request)], response.body)

    async def _routed(self, api: HttpApi, stage: Any, request: SiteRequest) -> SiteResponse:
        found = match(api, stage, request)
        if found is None:
            return _NOT_FOUND
        if found.route.authorization_type == "AWS_IAM" and not request.header("authorization"):
            return message_response(403, "Forbidden")
        key = found.route.route_key
        settings = {**(stage.default_route_settings or {}), **((stage.route_settings or {}).get(key) or {})}
        rate, burst = (float(settings.get(f"throttling{name}Limit") or 0) for name in ("Rate", "Burst"))
        if not self._limits.take((api.record.api_id, stage.name, key), rate, burst):
            return message_response(429, "Too Many Requests")
        reference = _function(api, stage, found)
        return _FAILED if reference is None else await self._call(reference, found, request)

    async def _call(self, reference: FunctionReference, found: HttpRoute, request: SiteRequest) -> SiteResponse:
        version = found.integration.payload_format_version
        if version == "1.0":
            event = {"version": "1.0", **event_of(request, found.target, is_not_text(request))}
        else:
            event = event_v2_of(request, found.target)
        call = FunctionCall(reference.arn, json.dumps(event).encode())
        if len(call.payload) > MAX_PAYLOAD_BYTES:
            return message_response(413, "Request Entity Too Large")
        try:
            async with asyncio.timeout(float(found.integration.timeout_in_millis) / 1000):
                _, result = await self._functions.invoke(reference, call)
            if result.failed:
                raise MalformedResponseError(f"it is the error {result.error_type}")
            return response_v2_of(result.payload) if version != "1.0" else _response_v1(result.payload)
        except (TimeoutError, TooManyRequests):
            return _UNAVAILABLE
        except (AwsError, MalformedResponseError) as error:
            logger.warning("the response of function %s to HTTP API %s: %s", reference.arn, found.target.api_id, error)
            return _FAILED


def _response_v1(payload: bytes) -> SiteResponse:
    try:
        result = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise MalformedResponseError(f"it is not JSON: {error}") from error
    if isinstance(result, dict) and "statusCode" not in result:
        raise MalformedResponseError("it has no statusCode")
    return response_of(result, _ALL_TYPES, None)


def _function(api: HttpApi, stage: Any, found: HttpRoute) -> FunctionReference | None:
    """Return the function behind a route, if its integration is of one."""
    integration = found.integration
    kind = str(integration.integration_type).upper() if integration is not None else "missing"
    uri = with_variables(integration.integration_uri, stage.stage_variables or {}) if integration is not None else ""
    through_path = FUNCTION_URI.fullmatch(uri)
    arn = through_path["arn"] if through_path else uri
    if kind == "AWS_PROXY" and ":function:" in arn:
        return FunctionReference.parse(arn, api.region)
    logger.warning(
        "the integration of route %r of HTTP API %s is %s with the address %r; the emulator has AWS_PROXY of functions",
        *(found.route.route_key, api.record.api_id, kind, uri),
    )
    return None
