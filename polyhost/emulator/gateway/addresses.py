"""Where APIs and function URLs answer on this machine: in the log, and as JSON for the page and for programs."""

import logging
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from polyhost.emulator.functions.spec import all_function_urls
from polyhost.emulator.gateway.http_api_content import all_http_apis
from polyhost.emulator.gateway.payload_v2 import DEFAULT
from polyhost.emulator.gateway.routes import all_stages

logger = logging.getLogger(__name__)


class ApiAddresses:
    """The stages of all APIs, and the function URLs. `url` is the emulator's own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._told: set[str] = set()

    def routes(self) -> list[Route]:
        """Return the route of the lists."""
        return [Route("/_polyhost/apis", self._list)]

    def stages(self) -> list[dict[str, Any]]:
        """Return the stages, each with its address."""
        rest = [
            self._stage("REST", deployed.api.id, deployed.api.name, deployed.region, deployed.stage.name)
            for deployed in all_stages()
        ]
        http = [
            self._stage("HTTP", api.record.api_id, api.record.name, api.region, stage)
            for api in all_http_apis()
            for stage in list(api.record.stages)
        ]
        return [*rest, *http]

    def function_urls(self) -> list[dict[str, Any]]:
        """Return the functions with a URL of their own, each with its address."""
        port = urlsplit(self._url).port
        return [
            {
                "function": reference.name,
                "qualifier": reference.qualifier,
                "region": reference.region,
                "url": f"http://{url_id}.lambda-url.{reference.region}.localhost:{port}/",
            }
            for url_id, reference in all_function_urls()
        ]

    def log_new(self) -> None:
        """Log the addresses that were not there before."""
        entries = {item["url"]: f"stage {item['stage']} of {item['type']} API {item['name']}" for item in self.stages()}
        entries |= {item["url"]: f"function {item['function']}" for item in self.function_urls()}
        for url in sorted(entries.keys() - self._told):
            logger.info("%s answers at %s", entries[url], url)
        self._told = set(entries)

    def _stage(self, kind: str, api_id: str, name: str, region: str, stage: str) -> dict[str, Any]:
        place = api_id if stage == DEFAULT else f"{api_id}/{stage}"
        url = f"{self._url}/restapis/{place}/_user_request_/"
        return {"type": kind, "id": api_id, "name": name, "region": region, "stage": stage, "url": url}

    async def _list(self, request: Request) -> Response:
        return JSONResponse({"apis": self.stages(), "function_urls": self.function_urls()})
