"""Operations of API Gateway v2 that moto lacks or does by half: quick create, imports, stages and deployments."""

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from flask import Flask
from moto.apigatewayv2.exceptions import BadRequestException
from moto.apigatewayv2.models import Api, Stage
from moto.apigatewayv2.responses import ApiGatewayV2Response
from moto.core.utils import convert_to_flask_response

from polyhost.emulator.gateway.http_api_checks import (
    check_deployment,
    check_integration,
    check_route,
    check_route_key,
    check_stage,
    deployments_of,
)
from polyhost.emulator.gateway.http_api_content import snapshot
from polyhost.emulator.gateway.http_api_import import import_into, parsed_document
from polyhost.emulator.gateway.payload_v2 import DEFAULT

_Operation = Callable[[ApiGatewayV2Response], Any]

_MOTOS_CREATE_API = ApiGatewayV2Response.create_api
_MOTOS_STAGE_JSON = Stage.to_json
# Members of UpdateStage, and where moto keeps them.
_STAGE_MEMBERS = {
    "accessLogSettings": "access_log_settings",
    "autoDeploy": "auto_deploy",
    "clientCertificateId": "client_certificate_id",
    "defaultRouteSettings": "default_route_settings",
    "deploymentId": "deployment_id",
    "description": "description",
    "routeSettings": "route_settings",
    "stageVariables": "stage_variables",
}


def add_to_apigatewayv2(app: Flask) -> None:
    """Give moto's API Gateway v2 the operations."""
    for name, operation in {
        "create_api": _create_api,
        "import_api": _import_api,
        "reimport_api": _reimport_api,
        "create_integration": _checked(check_integration, ApiGatewayV2Response.create_integration),
        "update_integration": _checked(check_integration, ApiGatewayV2Response.update_integration),
        "create_route": _checked(check_route, ApiGatewayV2Response.create_route),
        "update_route": _checked(check_route, ApiGatewayV2Response.update_route),
        "create_stage": _create_stage,
        "update_stage": _update_stage,
        "create_deployment": _create_deployment,
        "get_deployment": _get_deployment,
        "get_deployments": _get_deployments,
        "delete_deployment": _delete_deployment,
    }.items():
        setattr(ApiGatewayV2Response, name, operation)
    stages: Any = Stage
    stages.to_json = _stage_json
    for number, path in enumerate(("/v2/apis/<api_id>/deployments", "/v2/apis/<api_id>/deployments/<deployment_id>")):
        view = convert_to_flask_response(ApiGatewayV2Response.dispatch)
        app.add_url_rule(path, endpoint=f"v2-deployments-{number}", methods=["GET", "POST", "DELETE"], view_func=view)


def _checked(check: Callable[[Api, dict[str, Any], str | None], None], operation: _Operation) -> _Operation:
    def run(response: ApiGatewayV2Response) -> Any:
        parts = response.path.split("/")  # /v2/apis/ID/routes/ID
        check(_api(response), json.loads(response.body), parts[5] if len(parts) > 5 else None)
        return operation(response)

    return run


# APIs


def _create_api(response: ApiGatewayV2Response) -> Any:
    """Create an API; with a target, with a route to it and the stage $default (quick create)."""
    members = json.loads(response.body)
    target, key = members.get("target"), members.get("routeKey") or DEFAULT
    _, headers, body = _MOTOS_CREATE_API(response)
    api = response.apigatewayv2_backend.get_api(json.loads(body)["apiId"])
    if target is not None:
        try:
            check_route_key(api, key)
        except BadRequestException:
            response.apigatewayv2_backend.delete_api(api.api_id)
            raise
        is_function = ":function:" in target
        integration = api.create_integration(
            connection_type="INTERNET",
            description="",
            integration_method="POST" if is_function else "ANY",
            integration_type="AWS_PROXY" if is_function else "HTTP_PROXY",
            integration_uri=target,
            credentials_arn=members.get("credentialsArn"),
            payload_format_version="2.0" if is_function else "1.0",
        )
        api.create_route(False, [], key, f"integrations/{integration.id}", authorization_type="NONE")
        api.create_stage({"stageName": DEFAULT, "autoDeploy": True})
    return 201, headers, json.dumps(api.to_json())


def _import_api(response: ApiGatewayV2Response) -> Any:
    document = parsed_document(json.loads(response.body).get("body") or "")
    backend: Any = response.apigatewayv2_backend
    others = ("api_key_selection_expression", "cors_configuration", "description", "disable_schema_validation")
    unset = dict.fromkeys((*others, "disable_execute_api_endpoint", "route_selection_expression", "tags", "version"))
    api = backend.create_api(name=document["info"]["title"], protocol_type="HTTP", **unset)
    try:
        import_into(api, document)
    except BaseException:
        backend.delete_api(api.api_id)
        raise
    return 201, {}, json.dumps(api.to_json())


def _reimport_api(response: ApiGatewayV2Response) -> Any:
    api = _api(response)
    import_into(api, parsed_document(json.loads(response.body).get("body") or ""))
    return 201, {}, json.dumps(api.to_json())


# Stages


def _create_stage(response: ApiGatewayV2Response) -> Any:
    api, members = _api(response), json.loads(response.body)
    check_stage(api, members)
    stage = api.create_stage(members)
    stage.deployment_id = members.get("deploymentId")  # type: ignore[attr-defined]
    return 201, {}, json.dumps(stage.to_json())


def _update_stage(response: ApiGatewayV2Response) -> Any:
    api, members = _api(response), json.loads(response.body)
    stage = api.get_stage(unquote(response.path.split("/")[5]))
    check_deployment(api, members.get("deploymentId"))
    for name, attribute in _STAGE_MEMBERS.items():
        if members.get(name) is not None:
            setattr(stage, attribute, members[name])
    stage.updated = datetime.now()
    return 200, {}, json.dumps(stage.to_json())


def _stage_json(stage: Stage) -> dict[str, Any]:
    deployment = getattr(stage, "deployment_id", None)
    return _MOTOS_STAGE_JSON(stage) | ({"deploymentId": deployment} if deployment else {})


# Deployments


def _create_deployment(response: ApiGatewayV2Response) -> Any:
    api, members = _api(response), json.loads(response.body)
    if not api.routes:
        raise BadRequestException("At least one route is required before deploying the Api.")
    stage = api.get_stage(members["stageName"]) if members.get("stageName") else None
    deployment: dict[str, Any] = {
        "deploymentId": uuid.uuid4().hex[:10],
        "createdDate": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "deploymentStatus": "DEPLOYED",
        "description": members.get("description"),
        "content": snapshot(api),
    }
    deployments_of(api)[deployment["deploymentId"]] = deployment
    if stage is not None:
        stage.deployment_id = deployment["deploymentId"]  # type: ignore[attr-defined]
    return 201, {}, json.dumps(_shown(deployment))


def _get_deployment(response: ApiGatewayV2Response) -> Any:
    api, deployment_id = _api(response), response.path.split("/")[5]
    check_deployment(api, deployment_id)
    return 200, {}, json.dumps(_shown(deployments_of(api)[deployment_id]))


def _get_deployments(response: ApiGatewayV2Response) -> Any:
    items = [_shown(deployment) for deployment in deployments_of(_api(response)).values()]
    return 200, {}, json.dumps({"items": items})


def _delete_deployment(response: ApiGatewayV2Response) -> Any:
    api, deployment_id = _api(response), response.path.split("/")[5]
    check_deployment(api, deployment_id)
    if any(getattr(stage, "deployment_id", None) == deployment_id for stage in api.stages.values()):
        raise BadRequestException("Active stages pointing to this deployment must be moved or deleted")
    del deployments_of(api)[deployment_id]
    return 204, {}, ""


def _api(response: ApiGatewayV2Response) -> Api:
    return response.apigatewayv2_backend.get_api(response.path.split("/")[3])


def _shown(deployment: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in deployment.items() if name != "content"}
