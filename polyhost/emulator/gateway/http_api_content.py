"""Which route of an HTTP API's stage a request is for (API Gateway developer guide, http-api-develop-routes)."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from polyhost.emulator.gateway.http_types import EventTarget, SiteRequest
from polyhost.emulator.gateway.payload_v2 import DEFAULT
from polyhost.emulator.gateway.routes import path_values, specificity
from polyhost.emulator.moto_services.loaded import loaded_backends


class HttpApi(NamedTuple):
    """An HTTP API as moto has it."""

    record: Any
    region: str


@dataclass(frozen=True)
class HttpRoute:
    """A route that matches a request. `integration` is None if the route has none."""

    route: Any
    integration: Any
    target: EventTarget


def http_api(api_id: str) -> HttpApi | None:
    """Return an HTTP API, if there is one with this id."""
    return next((api for api in all_http_apis() if api.record.api_id == api_id), None)


def all_http_apis() -> Iterator[HttpApi]:
    """Yield the HTTP APIs of all regions."""
    for region, backend in loaded_backends("moto.apigatewayv2.models", "apigatewayv2_backends"):
        for record in list(backend.apis.values()):
            if record.protocol_type == "HTTP":
                yield HttpApi(record, region)


def snapshot(record: Any) -> dict[str, Any]:
    """Return what a deployment of an API keeps."""
    return {"routes": copy.deepcopy(record.routes), "integrations": copy.deepcopy(record.integrations)}


def match(api: HttpApi, stage: Any, request: SiteRequest) -> HttpRoute | None:
    """Return the most specific route that a stage has for a request, or `$default`."""
    content = _content(api.record, stage)
    found = min(_matching(content["routes"], request), key=lambda item: item[0], default=None)
    if found is None:
        return None
    _, route, values = found
    integration_id = str(route.target or "").removeprefix("integrations/")
    full_path = request.path if stage.name == DEFAULT else f"/{stage.name}{request.path}"
    target = EventTarget(
        api_id=api.record.api_id,
        domain=f"{api.record.api_id}.execute-api.{api.region}.amazonaws.com",
        stage=stage.name,
        resource_id=route.route_key,
        resource_path=route.route_key.rpartition(" ")[2],
        event_path=full_path,
        full_path=full_path,
        path_parameters=values,
        stage_variables=dict(stage.stage_variables or {}),
    )
    return HttpRoute(route, content["integrations"].get(integration_id), target)


def _content(record: Any, stage: Any) -> dict[str, Any]:
    if stage.auto_deploy:
        return {"routes": record.routes, "integrations": record.integrations}
    deployment = getattr(record, "deployments", {}).get(getattr(stage, "deployment_id", None)) or {}
    return deployment.get("content") or {"routes": {}, "integrations": {}}


def _matching(routes: dict[str, Any], request: SiteRequest) -> Iterator[tuple[tuple[int, ...], Any, dict[str, str]]]:
    for number, route in enumerate(list(routes.values())):
        method, _, path = route.route_key.rpartition(" ")
        if route.route_key == DEFAULT:
            yield (2, 0, 0, 0, number), route, {}
        elif method in (request.method, "ANY"):
            values = path_values(path, request.path)
            if values is not None:
                yield (*specificity(path), int(method == "ANY"), number), route, values
