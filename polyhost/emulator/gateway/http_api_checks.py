"""Checks of API Gateway v2 that moto lacks: AWS rejects what could serve no request."""

import re
from typing import Any

from moto.apigatewayv2.exceptions import APIGatewayV2Error, BadRequestException
from moto.apigatewayv2.models import Api

from polyhost.emulator.gateway.payload_v2 import DEFAULT

_ROUTE_KEY = re.compile(r"(ANY|GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|TRACE) /\S*")
_VERSIONS = ("1.0", "2.0")
_STAGE_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")


class ConflictError(APIGatewayV2Error):
    code = 409

    def __init__(self, message: str) -> None:
        super().__init__("ConflictException", message)


class DeploymentNotFoundError(APIGatewayV2Error):
    code = 404

    def __init__(self, deployment_id: str) -> None:
        super().__init__("NotFoundException", f"Invalid Deployment identifier specified {deployment_id}")


def deployments_of(api: Api) -> dict[str, dict[str, Any]]:
    """Return an API's deployments, which moto has no place for."""
    found: dict[str, dict[str, Any]] = vars(api).setdefault("deployments", {})
    return found


def check_deployment(api: Api, deployment_id: str | None) -> None:
    """Raise DeploymentNotFoundError if the API has no such deployment; none is fine."""
    if deployment_id is not None and deployment_id not in deployments_of(api):
        raise DeploymentNotFoundError(deployment_id)


def check_integration(api: Api, members: dict[str, Any], integration_id: str | None) -> None:
    """Check an integration that is made, or changed if it has an id already. Raises BadRequestException."""
    before = api.get_integration(integration_id) if integration_id is not None else None
    kind = members.get("integrationType") or (before.integration_type if before is not None else None)
    version = members.get("payloadFormatVersion") or (before.payload_format_version if before is not None else None)
    if api.protocol_type != "HTTP":
        return
    if kind not in ("AWS_PROXY", "HTTP_PROXY"):
        raise BadRequestException(f"Invalid integration type {kind!r}: HTTP APIs have AWS_PROXY and HTTP_PROXY")
    if kind == "AWS_PROXY" and not members.get("integrationSubtype") and version not in _VERSIONS:
        raise BadRequestException(f"PayloadFormatVersion must be one of {', '.join(_VERSIONS)} for AWS_PROXY")
    timeout = members.get("timeoutInMillis")
    if timeout is not None and not 50 <= timeout <= 30_000:
        raise BadRequestException("Timeout should be between 50 ms and 30000 ms")


def check_route(api: Api, members: dict[str, Any], route_id: str | None) -> None:
    """Check a route that is made, or changed if it has an id already. Raises BadRequestException and ConflictError."""
    if route_id is not None:
        api.get_route(route_id)
    key, target = members.get("routeKey"), members.get("target")
    if key is not None:
        check_route_key(api, key)
        if any(route.route_key == key and route.route_id != route_id for route in api.routes.values()):
            raise ConflictError(f"Route with key {key} already exists for this API")
    if target and target.removeprefix("integrations/") not in api.integrations:
        raise BadRequestException(f"Invalid target {target!r}: the API has no such integration")


def check_route_key(api: Api, key: str) -> None:
    """Raise BadRequestException if an HTTP API cannot have a route with this key."""
    if api.protocol_type == "HTTP" and key != DEFAULT and not _ROUTE_KEY.fullmatch(key):
        raise BadRequestException(
            f"The provided route key {key!r} is not formatted properly for HTTP protocol."
            ' Format should be "<HTTP METHOD> /<RESOURCE PATH>" or "$default"'
        )


def check_stage(api: Api, members: dict[str, Any]) -> None:
    """Check a new stage. Raises BadRequestException and ConflictError."""
    name = members.get("stageName") or ""
    if name != DEFAULT and not _STAGE_NAME.fullmatch(name):
        raise BadRequestException(f"Invalid stage name {name!r}: use letters, digits, - and _, or $default")
    if name in api.stages:
        raise ConflictError("Stage already exists")
    check_deployment(api, members.get("deploymentId"))
