"""Which method of a REST API a request is for."""

import re
from dataclasses import dataclass
from typing import Any

from polyhost.emulator.gateway.http_types import EventTarget
from polyhost.emulator.moto_services.loaded import loaded_backends


@dataclass(frozen=True)
class Route:
    """A method of an API's stage, as moto has it, with the values of the path's parameters."""

    api: Any
    region: str
    stage: Any
    resource_id: str
    resource_path: str
    method: Any
    path_parameters: dict[str, str]
    binary_types: list[str]

    def target(self, path: str) -> EventTarget:
        """Return what a request for this path is for."""
        return EventTarget(
            api_id=self.api.id,
            domain=f"{self.api.id}.execute-api.{self.region}.amazonaws.com",
            stage=self.stage.name,
            resource_id=self.resource_id,
            resource_path=self.resource_path,
            event_path=path,
            full_path=f"/{self.stage.name}{path}",
            path_parameters=self.path_parameters,
            stage_variables=dict(self.stage.variables),
        )


@dataclass(frozen=True)
class DeployedStage:
    api: Any
    region: str
    stage: Any

    def route(self, http_method: str, path: str) -> Route | None:
        """Return the most specific resource that matches the path and has the method, or ANY."""
        from polyhost.emulator.gateway.deployments import deployed_content

        content = deployed_content(self.api, self.stage)
        for resource in sorted(content.resources, key=lambda item: specificity(item.path)):
            values = path_values(resource.path, path.rstrip("/") or "/")
            method = resource.methods.get(http_method) or resource.methods.get("ANY")
            if values is not None and method is not None:
                return Route(
                    *(self.api, self.region, self.stage, resource.id, resource.path, method, values),
                    binary_types=content.binary_types,
                )
        return None


def deployed_stage(api_id: str, stage: str) -> DeployedStage | None:
    """Return a stage, if there is one with a deployment."""
    for region, backend in _backends():
        api = backend.apis.get(api_id)
        if api is not None and stage in api.stages:
            return DeployedStage(api, region, api.stages[stage])
    return None


def all_stages() -> list[DeployedStage]:
    """Return all stages of all APIs."""
    return [
        DeployedStage(api, region, stage)
        for region, backend in _backends()
        for api in list(backend.apis.values())
        for stage in list(api.stages.values())
    ]


def _backends() -> list[tuple[str, Any]]:
    return loaded_backends("moto.apigateway.models", "apigateway_backends")


def path_values(pattern: str, path: str) -> dict[str, str] | None:
    """Return the values of a path's parameters, such as `{id}` and `{rest+}`, or None if the path does not match."""
    parts = re.split(r"(\{[^}]+\})", pattern)
    expression = "".join(
        ("(.+)" if part.endswith("+}") else "([^/]+)") if part.startswith("{") else re.escape(part) for part in parts
    )
    match = re.fullmatch(expression, path)
    if match is None:
        return None
    names = [part[1:-1].removesuffix("+") for part in parts if part.startswith("{")]
    return dict(zip(names, match.groups(), strict=True))


def specificity(pattern: str) -> tuple[int, int, int]:
    """Return what sorts plain paths before those with parameters, and those before greedy ones."""
    return "+}" in pattern, pattern.count("{"), -len(pattern)
