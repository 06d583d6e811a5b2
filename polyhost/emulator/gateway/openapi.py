"""REST APIs from OpenAPI documents with x-amazon-apigateway extensions, as SAM writes them, into moto's records."""

from typing import Any

from moto.apigateway.exceptions import BadRequestException
from moto.apigateway.models import APIGatewayBackend, RestAPI

_ANY = "x-amazon-apigateway-any-method"
_INTEGRATION = "x-amazon-apigateway-integration"
_METHODS = frozenset(("get", "put", "post", "delete", "options", "head", "patch", _ANY))


def import_document(backend: APIGatewayBackend, api: RestAPI, document: dict[str, Any]) -> None:
    """Add what the document describes to an API. Raises BadRequestException."""
    paths = document.get("paths")
    if not isinstance(paths, dict):
        raise BadRequestException("Invalid OpenAPI input: it has no paths.")
    keys = _api_key_schemes(document)
    for path, item in sorted(paths.items()):
        if not path.startswith("/") or not isinstance(item, dict):
            raise BadRequestException(f"Invalid OpenAPI input: path {path!r} must begin with / and be an object.")
        resource_id = _resource_id(api, path)
        for name, operation in item.items():
            if name.lower() in _METHODS and isinstance(operation, dict):
                method = "ANY" if name == _ANY else name.upper()
                security = operation.get("security", document.get("security")) or []
                needs_key = any(keys & requirement.keys() for requirement in security)
                _add_method(backend, api, resource_id, method, operation, needs_key)
    binary = document.get("x-amazon-apigateway-binary-media-types")
    if binary is not None:
        api.binaryMediaTypes = list(binary)


def _api_key_schemes(document: dict[str, Any]) -> set[str]:
    """Return the names of the security schemes that stand for API keys (OpenAPI 2.0 and 3)."""
    components = document.get("components") or {}
    schemes = {**(document.get("securityDefinitions") or {}), **(components.get("securitySchemes") or {})}
    return {
        name
        for name, scheme in schemes.items()
        if scheme.get("type") == "apiKey"
        and str(scheme.get("name", "")).lower() == "x-api-key"
        and "x-amazon-apigateway-authtype" not in scheme
    }


def _resource_id(api: RestAPI, path: str) -> str:
    """Return the id of the resource at a path; it and its ancestors are made if they are missing."""
    resource = api.default
    known = {item.get_path(): item for item in api.resources.values()}
    at = ""
    for part in filter(None, path.split("/")):
        at += f"/{part}"
        resource = known.get(at) or api.add_child(part, resource.id)
    return str(resource.id)


def _add_method(
    backend: APIGatewayBackend,
    api: RestAPI,
    resource_id: str,
    method: str,
    operation: dict[str, Any],
    needs_key: bool,
) -> None:
    integration = operation.get(_INTEGRATION)
    authorization = "NONE" if integration is None or not integration.get("authorizer") else "CUSTOM"
    backend.put_method(api.id, resource_id, method, authorization, api_key_required=needs_key)
    for status in operation.get("responses") or {}:
        backend.put_method_response(api.id, resource_id, method, str(status), None, None)
    if integration is None:
        return
    arguments = backend._build_integration_args(integration)
    arguments["integration_type"] = str(integration.get("type", "")).upper()
    backend.put_integration(api.id, resource_id, method, **arguments)
    for response in backend._build_integration_responses_args(integration):
        backend.put_integration_response(api.id, resource_id, method, **response)
