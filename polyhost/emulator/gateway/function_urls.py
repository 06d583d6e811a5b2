"""Function URLs (Lambda developer guide, urls-configuration)."""

import asyncio
import json
import logging
from typing import Any

from polyhost.emulator.errors import AwsError
from polyhost.emulator.functions.errors import TooManyRequests
from polyhost.emulator.functions.invocation import FunctionCall
from polyhost.emulator.functions.service import Functions
from polyhost.emulator.functions.spec import FunctionReference, url_function
from polyhost.emulator.gateway.cors import CorsSettings
from polyhost.emulator.gateway.http_types import SiteRequest, SiteResponse, message_response
from polyhost.emulator.gateway.payload_v1 import MalformedResponseError
from polyhost.emulator.gateway.payload_v2 import event_v2_of, response_v2_of, url_target

logger = logging.getLogger(__name__)


class FunctionUrls:
    """Answers requests to function URLs."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    async def respond(self, url_id: str, region: str, request: SiteRequest) -> SiteResponse:
        """Return the response, whatever goes wrong."""
        found = await asyncio.to_thread(url_function, url_id)
        if found is None:
            return _message(403, "Forbidden")
        reference, config = found
        cors = CorsSettings.of(config.get("Cors") or {})
        if config.get("Cors") and cors.is_preflight(request):
            return SiteResponse(200, cors.preflight_headers(request))
        if config.get("AuthType") == "AWS_IAM" and not request.header("authorization"):
            return _message(403, "Forbidden")
        target = url_target(f"{url_id}.lambda-url.{region}.on.aws", request.path)
        response = await self._call(reference, event_v2_of(request, target))
        return SiteResponse(response.status, [*response.headers, *cors.headers(request)], response.body)

    async def _call(self, reference: FunctionReference, event: dict[str, Any]) -> SiteResponse:
        try:
            _, result = await self._functions.invoke(reference, FunctionCall(reference.arn, json.dumps(event).encode()))
            if not result.failed:
                return response_v2_of(result.payload)
            reason = f"it is the error {result.error_type}"
        except TooManyRequests:
            return _message(429, "Too Many Requests")
        except (AwsError, MalformedResponseError) as error:
            reason = str(error)
        logger.warning("the response of function %s to its URL: %s", reference.arn, reason)
        return message_response(502, "Internal Server Error")


def _message(status: int, message: str) -> SiteResponse:
    content = json.dumps({"Message": message}).encode()
    return SiteResponse(status, [("Content-Type", "application/json")], content)
