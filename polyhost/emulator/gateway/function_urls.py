"""Function URLs (Lambda developer guide, urls-configuration)."""

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any

from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.errors import AwsError
from polyhost.emulator.functions.errors import TooManyRequests
from polyhost.emulator.functions.invocation import FunctionCall
from polyhost.emulator.functions.service import Functions
from polyhost.emulator.functions.spec import FunctionReference, url_function
from polyhost.emulator.gateway.http_types import SiteRequest, SiteResponse, message_response
from polyhost.emulator.gateway.payload_v1 import MalformedResponseError
from polyhost.emulator.gateway.payload_v2 import event_v2_of, response_v2_of

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
        cors = _cors_headers(config.get("Cors") or {}, request.header("origin"))
        if request.method == "OPTIONS" and config.get("Cors") and request.header("access-control-request-method"):
            return SiteResponse(200, cors)
        if config.get("AuthType") == "AWS_IAM" and not request.header("authorization"):
            return _message(403, "Forbidden")
        response = await self._call(reference, event_v2_of(request, f"{url_id}.lambda-url.{region}.on.aws", ACCOUNT))
        return SiteResponse(response.status, [*response.headers, *cors], response.body)

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


def _cors_headers(cors: Mapping[str, Any], origin: str | None) -> list[tuple[str, str]]:
    origins = cors.get("AllowOrigins") or []
    if origin is None or not ("*" in origins or origin in origins):
        return []
    headers = [("Access-Control-Allow-Origin", "*" if "*" in origins else origin)]
    for member, name in (
        ("AllowMethods", "Access-Control-Allow-Methods"),
        ("AllowHeaders", "Access-Control-Allow-Headers"),
        ("ExposeHeaders", "Access-Control-Expose-Headers"),
    ):
        if cors.get(member):
            headers.append((name, ",".join(cors[member])))
    if cors.get("AllowCredentials"):
        headers.append(("Access-Control-Allow-Credentials", "true"))
    if cors.get("MaxAge"):
        headers.append(("Access-Control-Max-Age", str(cors["MaxAge"])))
    return headers
