"""REST APIs: routing, keys and the responses that API Gateway gives itself."""

import asyncio

from polyhost.emulator.functions.service import Functions
from polyhost.emulator.gateway.http_types import SiteRequest, SiteResponse, message_response
from polyhost.emulator.gateway.integrations import Integrations
from polyhost.emulator.gateway.routes import deployed_stage
from polyhost.emulator.gateway.usage_plans import ForbiddenError, ThrottledError, UsagePlans


class RestApis:
    """Answers requests to stages of REST APIs."""

    def __init__(self, functions: Functions) -> None:
        self._integrations = Integrations(functions)
        self._plans = UsagePlans()

    async def respond(self, api_id: str, stage: str, request: SiteRequest) -> SiteResponse:
        """Return the response, whatever goes wrong."""
        deployed = await asyncio.to_thread(deployed_stage, api_id, stage)
        if deployed is None:
            return message_response(403, "Forbidden")
        route = deployed.route(request.method, request.path)
        if route is None:
            # Gateway response MISSING_AUTHENTICATION_TOKEN, for methods that there are not.
            return message_response(403, "Missing Authentication Token")
        try:
            key = self._plans.admit(route, request.header("x-api-key"))
        except ForbiddenError:
            return message_response(403, "Forbidden")
        except ThrottledError as error:
            return message_response(429, str(error))
        return await self._integrations.respond(route, request, key)
