"""HTTP APIs from OpenAPI 3 documents with x-amazon-apigateway extensions, as SAM writes them, into moto's records."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml
from moto.apigatewayv2.exceptions import BadRequestException
from moto.apigatewayv2.models import Api

from polyhost.emulator.gateway.payload_v2 import DEFAULT

_ANY = "x-amazon-apigateway-any-method"
_INTEGRATION = "x-amazon-apigateway-integration"
_METHODS = frozenset(("get", "put", "post", "delete", "options", "head", "patch", "trace", _ANY))
_REFERENCE = "#/components/x-amazon-apigateway-integrations/"


class ImportedRoute(NamedTuple):
    """An operation of a document."""

    key: str
    integration: Mapping[str, Any] | None
    name: str | None


def parsed_document(text: str) -> dict[str, Any]:
    """Read a document in JSON or YAML. Raises BadRequestException."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        try:
            document = yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError) as error:
            raise _invalid(f"it is neither JSON nor YAML: {error}") from error
    if not isinstance(document, dict) or not str(document.get("openapi", "")).startswith("3."):
        raise _invalid("HTTP APIs need OpenAPI 3; its member openapi must begin with 3.")
    if not isinstance(document.get("info"), dict) or not document["info"].get("title"):
        raise _invalid("info.title is missing.")
    return document


def import_into(api: Api, document: Mapping[str, Any]) -> None:
    """Replace an API's routes and integrations by those of a document. Raises BadRequestException."""
    routes = list(_routes(document))
    if len({route.key for route in routes}) < len(routes):
        raise _invalid("two of its operations are the same route.")
    api.routes.clear()
    api.integrations.clear()
    for route in routes:
        target = f"integrations/{_add_integration(api, route.integration)}" if route.integration else None
        api.create_route(False, [], route.key, target, authorization_type="NONE", operation_name=route.name)  # type: ignore[arg-type]
    information = document["info"]
    api.name = information["title"]
    api.version = str(information.get("version") or "") or None  # type: ignore[assignment]
    api.description = information.get("description") or api.description
    if (cors := document.get("x-amazon-apigateway-cors")) is not None:
        api.cors_configuration = cors
    tags = [item for item in document.get("tags") or [] if "x-amazon-apigateway-tag-value" in item]
    if tags:
        api.backend.tag_resource(api.arn, {item["name"]: str(item["x-amazon-apigateway-tag-value"]) for item in tags})


def _routes(document: Mapping[str, Any]) -> Iterator[ImportedRoute]:
    paths = document.get("paths") or {}
    if not isinstance(paths, dict):
        raise _invalid("its paths are not an object.")
    for path, item in paths.items():
        if not str(path).startswith("/") or not isinstance(item, dict):
            raise _invalid(f"path {path!r} must begin with / and be an object.")
        for name, operation in item.items():
            if name.lower() in _METHODS and isinstance(operation, dict):
                method = "ANY" if name == _ANY else name.upper()
                default = operation.get("isDefaultRoute") or path == f"/{DEFAULT}"
                key = DEFAULT if default else f"{method} {path}"
                yield ImportedRoute(key, _integration_of(document, operation), operation.get("operationId"))


def _integration_of(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Mapping[str, Any] | None:
    integration = operation.get(_INTEGRATION)
    if integration is None:
        return None
    reference = str(integration.get("$ref") or "") if isinstance(integration, dict) else ""
    if reference:
        shared = (document.get("components") or {}).get("x-amazon-apigateway-integrations") or {}
        integration = shared.get(reference.removeprefix(_REFERENCE))
    if not isinstance(integration, dict):
        raise _invalid(f"an {_INTEGRATION} is no object, or refers to none: {reference!r}.")
    return integration


def _add_integration(api: Api, members: Mapping[str, Any]) -> str:
    timeout = members.get("timeoutInMillis")
    integration = api.create_integration(
        connection_type=members.get("connectionType") or "INTERNET",
        description=members.get("description") or "",
        integration_method=members.get("httpMethod") or "POST",
        integration_type=str(members.get("type") or "").upper(),
        integration_uri=members.get("uri"),  # type: ignore[arg-type]
        payload_format_version=str(members.get("payloadFormatVersion") or "1.0"),
        timeout_in_millis=None if timeout is None else str(timeout),
    )
    return str(integration.id)


def _invalid(reason: str) -> BadRequestException:
    return BadRequestException(f"Invalid OpenAPI input: {reason}")
