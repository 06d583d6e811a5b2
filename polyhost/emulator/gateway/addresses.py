"""Where APIs answer on this machine, as JSON for the page and for programs."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from polyhost.emulator.gateway.routes import all_stages


class ApiAddresses:
    """The stages of all REST APIs. `url` is the emulator's own."""

    def __init__(self, url: str) -> None:
        self._url = url

    def routes(self) -> list[Route]:
        """Return the route of the list."""
        return [Route("/_polyhost/apis", self._list)]

    def all(self) -> list[dict[str, Any]]:
        """Return the stages, each with its address."""
        return [
            {
                "id": deployed.api.id,
                "name": deployed.api.name,
                "region": deployed.region,
                "stage": deployed.stage.name,
                "url": f"{self._url}/restapis/{deployed.api.id}/{deployed.stage.name}/_user_request_/",
            }
            for deployed in all_stages()
        ]

    async def _list(self, request: Request) -> Response:
        return JSONResponse({"apis": self.all()})
