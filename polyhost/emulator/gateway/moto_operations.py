"""API Gateway's operations in place of moto's, which know only a part of OpenAPI 3, of deletions and of patches."""

import json
from typing import Any

from moto.apigateway.exceptions import (
    BadRequestException,
    InvalidOpenApiModeException,
    UsagePlanNotFoundException,
)
from moto.apigateway.models import APIGatewayBackend, RestAPI, UsagePlan
from moto.apigateway.responses import APIGatewayResponse

from polyhost.emulator.gateway.deployments import add_deployments
from polyhost.emulator.gateway.openapi import import_document

_MOTOS_CREATE = APIGatewayResponse.create_rest_api
_MOTOS_API_PATCHES = RestAPI.apply_patch_operations
_MOTOS_PLAN_PATCHES = UsagePlan.apply_patch_operations
_BINARY = "/binaryMediaTypes/"


def add_to_apigateway() -> None:
    """Give moto's API Gateway the operations."""
    for owner, name, operation in (
        (APIGatewayBackend, "import_rest_api", _import_rest_api),
        (APIGatewayBackend, "put_rest_api", _put_rest_api),
        (APIGatewayResponse, "create_rest_api", _create_rest_api),
        (APIGatewayBackend, "delete_rest_api", _delete_rest_api),
        (APIGatewayBackend, "delete_usage_plan", _delete_usage_plan),
        (APIGatewayBackend, "delete_usage_plan_key", _delete_usage_plan_key),
        (RestAPI, "apply_patch_operations", _patch_api),
        (UsagePlan, "apply_patch_operations", _patch_plan),
    ):
        setattr(owner, name, operation)
    add_deployments()


def _create_rest_api(response: APIGatewayResponse) -> Any:
    """Create an API; moto forgets its binary media types."""
    status, headers, body = _MOTOS_CREATE(response)
    binary = response._get_param("binaryMediaTypes")
    if status == 200 and isinstance(binary, list):
        api = response.backend.get_rest_api(json.loads(body)["id"])
        api.binaryMediaTypes = binary
        body = json.dumps(api.to_dict())
    return status, headers, body


def _import_rest_api(backend: APIGatewayBackend, document: dict[str, Any], fail_on_warnings: bool) -> RestAPI:
    information = document.get("info")
    if not isinstance(information, dict) or not information.get("title"):
        raise BadRequestException("Invalid OpenAPI input: info.title is missing.")
    api = backend.create_rest_api(name=information["title"], description=information.get("description") or "")
    try:
        import_document(backend, api, document)
    except BaseException:
        backend.delete_rest_api(api.id)
        raise
    return api


def _put_rest_api(
    backend: APIGatewayBackend,
    function_id: str,
    api_doc: dict[str, Any],
    fail_on_warnings: bool,
    mode: str = "merge",
) -> RestAPI:
    if mode not in ("merge", "overwrite"):
        raise InvalidOpenApiModeException()
    api = backend.get_rest_api(function_id)
    resources, default = api.resources, api.default
    if mode == "overwrite":
        api.resources = {}
        api.default = api.add_child("/")
        api.root_resource_id = api.default.id
    try:
        import_document(backend, api, api_doc)
    except BaseException:
        api.resources, api.default, api.root_resource_id = resources, default, default.id
        raise
    return api


def _delete_rest_api(backend: APIGatewayBackend, function_id: str) -> RestAPI:
    api = backend.get_rest_api(function_id)  # raises, where moto fails with a KeyError
    del backend.apis[function_id]
    return api


def _delete_usage_plan(backend: APIGatewayBackend, usage_plan_id: str) -> None:
    backend.get_usage_plan(usage_plan_id)
    del backend.usage_plans[usage_plan_id]
    backend.usage_plan_keys.pop(usage_plan_id, None)


def _delete_usage_plan_key(backend: APIGatewayBackend, usage_plan_id: str, key_id: str) -> None:
    keys = backend.usage_plan_keys.get(usage_plan_id, {})
    if key_id not in keys:
        raise UsagePlanNotFoundException
    del keys[key_id]


def _patch_api(api: RestAPI, patch_operations: list[dict[str, Any]]) -> None:
    """Change an API; moto takes "false" for true, and does not find binary types in paths."""
    for operation in patch_operations:
        path = str(operation["path"])
        if path == "/disableExecuteApiEndpoint":
            api.disableExecuteApiEndpoint = str(operation["value"]).lower() == "true"
        elif path.startswith(_BINARY):
            kind = path.removeprefix(_BINARY).replace("~1", "/").replace("~0", "~")
            kept = [item for item in api.binaryMediaTypes or [] if item != kind]
            api.binaryMediaTypes = [*kept, *([kind] if operation["op"] == "add" else [])]
        else:
            _MOTOS_API_PATCHES(api, [operation])


def _patch_plan(plan: UsagePlan, patch_operations: list[dict[str, Any]]) -> None:
    """Change a plan; moto keeps limits as text, rejects rates below 1, and fails to remove stages with settings."""
    for operation in patch_operations:
        op, path, value = operation["op"], str(operation["path"]), str(operation.get("value", ""))
        section, _, name = path.lstrip("/").partition("/")
        if path == "/apiStages":
            api, _, stage = value.partition(":")
            others = [item for item in plan.api_stages if (item["apiId"], item["stage"]) != (api, stage)]
            plan.api_stages = [*others, *([{"apiId": api, "stage": stage}] if op == "add" else [])]
        elif section in ("throttle", "quota") and name and op != "remove":
            limits = plan.throttle if section == "throttle" else plan.quota
            limits[name] = float(value) if name == "rateLimit" else value if name == "period" else int(float(value))
        else:
            _MOTOS_PLAN_PATCHES(plan, [operation])
