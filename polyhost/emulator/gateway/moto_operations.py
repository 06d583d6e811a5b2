"""API Gateway's imports, in place of moto's, which knows only a part of OpenAPI 3."""

import json
from typing import Any

from moto.apigateway.exceptions import BadRequestException, InvalidOpenApiModeException
from moto.apigateway.models import APIGatewayBackend, RestAPI
from moto.apigateway.responses import APIGatewayResponse

from polyhost.emulator.gateway.openapi import import_document

_MOTOS_CREATE = APIGatewayResponse.create_rest_api


def add_to_apigateway() -> None:
    """Give moto's API Gateway the operations."""
    for owner, name, operation in (
        (APIGatewayBackend, "import_rest_api", _import_rest_api),
        (APIGatewayBackend, "put_rest_api", _put_rest_api),
        (APIGatewayResponse, "create_rest_api", _create_rest_api),
    ):
        setattr(owner, name, operation)


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
