"""Which method of a REST API a request is for."""

import re
from dataclasses import dataclass
from typing import Any

from polyhost.emulator.config import ACCOUNT


@dataclass(frozen=True)
class Route:
    """A method of an API's stage, as moto has it, with the values of the path's parameters."""

    api: Any
    region: str
    stage: Any
    resource: Any
    resource_path: str
    method: Any
    path_parameters: dict[str, str]


@dataclass(frozen=True)
class DeployedStage:
    api: Any
    region: str
    stage: Any

    def route(self, http_method: str, path: str) -> Route | None:
        """Return the most specific resource that matches the path and has the method, or ANY."""
        for resource_path, resource, values in sorted(self._matching(path), key=lambda found: _order(found[0])):
            method = resource.resource_methods.get(http_method) or resource.resource_methods.get("ANY")
            if method is not None:
                return Route(self.api, self.region, self.stage, resource, resource_path, method, values)
        return None

    def _matching(self, path: str) -> list[tuple[str, Any, dict[str, str]]]:
        found = []
        for resource in list(self.api.resources.values()):
            resource_path = resource.get_path()
            match = _pattern(resource_path).fullmatch(path.rstrip("/") or "/")
            if match is not None:
                names = re.findall(r"\{([^}+]+)\+?\}", resource_path)
                found.append((resource_path, resource, dict(zip(names, match.groups(), strict=True))))
        return found


def deployed_stage(api_id: str, stage: str) -> DeployedStage | None:
    """Return a stage, if there is one with a deployment."""
    from moto.apigateway.models import apigateway_backends

    for region, backend in list(apigateway_backends[ACCOUNT].items()):
        api = backend.apis.get(api_id)
        if api is not None and stage in api.stages:
            return DeployedStage(api, region, api.stages[stage])
    return None


def all_stages() -> list[DeployedStage]:
    """Return all stages of all APIs."""
    from moto.apigateway.models import apigateway_backends

    return [
        DeployedStage(api, region, stage)
        for region, backend in list(apigateway_backends[ACCOUNT].items())
        for api in list(backend.apis.values())
        for stage in list(api.stages.values())
    ]


def _pattern(resource_path: str) -> re.Pattern[str]:
    parts = re.split(r"(\{[^}]+\})", resource_path)
    pattern = "".join(
        ("(.+)" if part.endswith("+}") else "([^/]+)") if part.startswith("{") else re.escape(part) for part in parts
    )
    return re.compile(pattern)


def _order(resource_path: str) -> tuple[int, int, int]:
    """Return what sorts plain paths before those with parameters, and those before greedy ones."""
    return "+}" in resource_path, resource_path.count("{"), -len(resource_path)
