"""APIs of both kinds, found by the id in an address."""

import asyncio

from polyhost.emulator.gateway.http_api_content import http_api
from polyhost.emulator.gateway.http_apis import HttpApis
from polyhost.emulator.gateway.http_types import SiteRequest, SiteResponse
from polyhost.emulator.gateway.payload_v2 import DEFAULT
from polyhost.emulator.gateway.rest_apis import RestApis


class Apis:
    """Passes requests to the kind of API that they are for."""

    def __init__(self, rest: RestApis, http: HttpApis) -> None:
        self._rest = rest
        self._http = http

    async def at_stage(self, api_id: str, stage: str | None, request: SiteRequest) -> SiteResponse:
        """Answer a request whose address names the stage; none is the stage `$default` of an HTTP API."""
        found = await asyncio.to_thread(http_api, api_id)
        if found is None:
            return await self._rest.respond(api_id, stage or DEFAULT, request)
        return await self._http.respond(found, stage or DEFAULT, request)

    async def at_host(self, api_id: str, request: SiteRequest) -> SiteResponse:
        """Answer a request whose path begins with the stage, unless that is `$default`."""
        found = await asyncio.to_thread(http_api, api_id)
        stage, _, rest = request.path.lstrip("/").partition("/")
        if found is None:
            return await self._rest.respond(api_id, stage, request.at(f"/{rest}"))
        if stage in found.record.stages and stage != DEFAULT:
            return await self._http.respond(found, stage, request.at(f"/{rest}"))
        return await self._http.respond(found, DEFAULT, request)
