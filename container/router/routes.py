"""The router's HTTP API: that of a container with a model store, on top of Multi Model Server's."""

import asyncio
import json
from http import HTTPStatus
from typing import Any

from polyhost.container.model_store.target_models import TargetModels
from polyhost.container.native.errors import Rejection
from polyhost.container.native.exchange import Exchange
from polyhost.container.native.list_page import decode_page_token, encode_page_token, parse_limit
from polyhost.container.native.parser import HttpRequest
from polyhost.container.native.request_tasks import RequestTasks
from polyhost.container.native.target_routes import TargetRoutes
from polyhost.container.router.mms import MmsBackend

_JSON = (b"content-type", b"application/json")


class RouterRoutes:
    """Handles each request: responds at once, or starts what will respond later."""

    def __init__(self, routes: TargetRoutes, targets: TargetModels, mms: MmsBackend) -> None:
        self._routes = routes
        self._targets = targets
        self._mms = mms
        self._tasks = RequestTasks()

    def handle(self, request: HttpRequest, exchange: Exchange) -> None:
        """Respond to the request, now or later. Raise Rejection if it cannot be fulfilled."""
        if self._routes.handle(request, exchange, self._tasks.run):
            return
        if request.path == b"/ping":
            self._tasks.run(self._ping(exchange), exchange)
        elif request.path == b"/models":
            self._list(request, exchange)
        elif request.path == b"/metrics":
            self._tasks.run(self._metrics(exchange), exchange)
        else:
            message = f"no route for {request.path.decode(errors='replace')!r}"
            raise Rejection(HTTPStatus.NOT_FOUND, "NoRouteError", message)

    async def _ping(self, exchange: Exchange) -> None:
        if not await self._mms.ping():
            raise Rejection(HTTPStatus.SERVICE_UNAVAILABLE, "UnhealthyError", "Multi Model Server does not answer")
        exchange.respond(200, [_JSON], b'{"status": "Healthy"}')

    def _list(self, request: HttpRequest, exchange: Exchange) -> None:
        parameters = dict(request.parameters())
        after = decode_page_token(parameters.get("next_page_token", ""))
        limit = parse_limit(parameters.get("limit", ""))
        names = sorted(name for name, serving in self._targets.serving.items() if serving.loaded and name > after)
        listed: dict[str, Any] = {"models": [self._described(name) for name in names[:limit]]}
        if len(names) > limit:
            listed["nextPageToken"] = encode_page_token(names[limit - 1])
        exchange.respond(200, [_JSON], json.dumps(listed).encode())

    def _described(self, name: str) -> dict[str, Any]:
        folder = self._targets.folder_of(self._targets.serving[name].version)
        return {"modelName": name, "modelUrl": folder, **self._routes.describe(name)}

    async def _metrics(self, exchange: Exchange) -> None:
        from polyhost.container.native import metrics  # imported late: serving does not need its library

        content_type, text = await asyncio.to_thread(metrics.render, (), self._routes.metrics())
        exchange.respond(200, [(b"content-type", content_type)], text)
