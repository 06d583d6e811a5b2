"""Checks of Lambda's that moto lacks, before its operations."""

import base64
import binascii
import copy
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from moto.awslambda.exceptions import (
    GenericResourcNotFound,
    InvalidParameterValueException,
    UnknownFunctionException,
)
from moto.awslambda.models import EventSourceMapping, ImageConfig, LambdaBackend, LambdaFunction, LambdaStorage
from moto.awslambda.responses import LambdaResponse
from moto.sqs.models import sqs_backends

from polyhost.archives import InvalidArchiveError
from polyhost.emulator.functions.code_folders import check_zip
from polyhost.emulator.functions.package_checks import (
    check_new_code,
    check_new_package,
    check_no_zips_settings,
    require_image,
)
from polyhost.emulator.functions.spec import FunctionReference

_MAX_VARIABLES_BYTES = 4096
_LIMITS = {"MemorySize": (128, 10_240), "Timeout": (1, 900)}  # developer guide, gettingstarted-limits
# Variables that functions must not set (developer guide, configuration-envvars).
_RESERVED = frozenset(
    (
        *("_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV"),
        *("AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION"),
        *("AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME"),
        *("AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR"),
    )
)
_HANDLER = re.compile(r"[^\s]{1,128}")  # botocore lambda/2015-03-31, Handler
_UNZIP = "Could not unzip uploaded file. Please check your file, then try to upload again."

_TARGET = re.compile(r"(arn:[^:]+:(sqs|sns):[^:]+:\d+:[^:]+)?")

_MOTOS_SET_CODE = LambdaFunction._set_function_code
_MOTOS_INIT = LambdaFunction.__init__
_MOTOS_UPDATE = LambdaFunction.update_configuration
_MOTOS_CONFIGURATION = LambdaFunction.get_configuration
_MOTOS_CREATE_MAPPING = LambdaBackend.create_event_source_mapping
_MOTOS_UPDATE_MAPPING = LambdaBackend.update_event_source_mapping
_MOTOS_DELETE_MAPPING = LambdaBackend.delete_event_source_mapping
_MOTOS_PUT_EVENT_CONFIG = LambdaBackend.put_function_event_invoke_config


def add_to_lambda() -> None:
    """Give moto's Lambda the checks."""
    for name, check in (
        ("create_function", _check_new),
        ("update_function_configuration", _check_change),
        ("update_function_code", _check_code),
    ):
        setattr(LambdaResponse, name, _checked(getattr(LambdaResponse, name), check))
    for owner, name, operation in (
        (LambdaFunction, "_set_function_code", _set_function_code),
        (LambdaStorage, "publish_version", _publish_version),
        (LambdaFunction, "__init__", _init),
        (LambdaFunction, "update_configuration", _update_configuration),
        (LambdaFunction, "get_configuration", _get_configuration),
        (LambdaBackend, "put_function_event_invoke_config", _put_event_config),
        (LambdaBackend, "update_function_event_invoke_config", _update_event_config),
        (LambdaBackend, "create_event_source_mapping", _create_mapping),
        (LambdaBackend, "update_event_source_mapping", _update_mapping),
        (LambdaBackend, "delete_event_source_mapping", _delete_mapping),
    ):
        setattr(owner, name, operation)


def _checked(
    operation: Callable[[LambdaResponse], Any], check: Callable[[LambdaResponse], None]
) -> Callable[[LambdaResponse], Any]:
    def run(response: LambdaResponse) -> Any:
        check(response)
        return operation(response)

    return run


def _check_new(response: LambdaResponse) -> None:
    check_new_package(response.json_body)
    _check_configuration(response.json_body)


def _check_change(response: LambdaResponse) -> None:
    if _package_type(response) == "Image":
        check_no_zips_settings(response.json_body)
    _check_configuration(response.json_body)


def _check_code(response: LambdaResponse) -> None:
    check_new_code(_package_type(response), response.json_body)


def _package_type(response: LambdaResponse) -> str:
    """Return the package type of the function in the path, .../functions/NAME/...; empty if it does not exist."""
    try:
        return str(response.backend.get_function(unquote(response.path.rsplit("/", 2)[-2])).package_type)
    except UnknownFunctionException:
        return ""


def _check_configuration(members: dict[str, Any]) -> None:
    for name, (least, most) in _LIMITS.items():
        value = members.get(name)
        if value is not None and not (isinstance(value, int) and least <= value <= most):
            raise InvalidParameterValueException(
                f"1 validation error detected: Value '{value}' at '{name[0].lower()}{name[1:]}' failed to satisfy"
                f" constraint: Member must have value from {least} to {most}"
            )
    handler = members.get("Handler")
    if handler is not None and _HANDLER.fullmatch(str(handler)) is None:
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{handler}' at 'handler' failed to satisfy constraint: Member must"
            r" satisfy regular expression pattern: [^\s]+, with at most 128 characters"
        )
    target = (members.get("DeadLetterConfig") or {}).get("TargetArn") or ""
    if not _TARGET.fullmatch(target):
        raise InvalidParameterValueException(
            f"The target {target!r} of DeadLetterConfig must be the ARN of a queue of SQS or of a topic of SNS"
        )
    variables = (members.get("Environment") or {}).get("Variables") or {}
    if reserved := sorted(_RESERVED & variables.keys()):
        raise InvalidParameterValueException(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. Reserved keys used in "
            f"this request: {', '.join(reserved)}"
        )
    size = sum(len(f"{name}{value}".encode()) for name, value in variables.items())
    if size > _MAX_VARIABLES_BYTES:
        raise InvalidParameterValueException(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the 4KB limit: they have {size} bytes."
        )


def _set_function_code(function: LambdaFunction, spec: dict[str, Any]) -> None:
    """Set the code, unless it is no zip, too large, or a missing image; then the function stays as it was."""
    if (encoded := spec.get("ZipFile")) is not None:
        try:
            base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidParameterValueException(_UNZIP) from None
    before = dict(vars(function))
    image = require_image(spec["ImageUri"]) if "ImageUri" in spec else None
    if spec is not function.code:  # moto changes this in place, and published versions have it too
        function.code = dict(function.code)
    _MOTOS_SET_CODE(function, spec)
    if spec.get("DryRun"):
        return
    if image is not None:
        # As AWS's CodeSha256: which image the name has had, whatever it names later.
        function.code_sha_256 = image.id.removeprefix("sha256:")
    if function.package_type != "Zip":
        return
    try:
        check_zip(function.code_bytes)
    except InvalidArchiveError as error:
        vars(function).clear()
        vars(function).update(before)
        if "larger than" in str(error):
            raise InvalidParameterValueException("Unzipped size must be smaller than 262144000 bytes") from None
        raise InvalidParameterValueException(f"{_UNZIP} ({error})") from None


def _publish_version(storage: Any, name_or_arn: str, description: str = "") -> LambdaFunction | None:
    """Publish what has changed under a number that no version has had: moto's is the number of versions there are."""
    latest: Any = storage.get_function_by_name_or_arn_forbid_qualifier(name_or_arn)
    versions = storage._functions[latest.function_name]["versions"]
    if versions and not latest.code_or_config_updated:
        newest: LambdaFunction = versions[-1]
        return newest
    used = [int(version.version) for version in versions]
    latest.newest_version = max([getattr(latest, "newest_version", 0), *used]) + 1
    latest.code_or_config_updated = False
    published: LambdaFunction = copy.copy(latest)
    published.set_version(latest.newest_version)
    published.description = description or published.description
    versions.append(published)
    storage._arns[published.function_arn] = published
    return published


# Dead-letter queues and new settings of images, which moto forgets


def _init(function: Any, account_id: str, spec: dict[str, Any], region: str, *others: Any, **members: Any) -> None:
    function.dead_letter_target = _target(spec)
    _MOTOS_INIT(function, account_id, spec, region, *others, **members)


def _update_configuration(function: Any, config_updates: dict[str, Any]) -> dict[str, Any]:
    if "DeadLetterConfig" in config_updates:
        function.dead_letter_target = _target(config_updates)
    if "ImageConfig" in config_updates:  # forgotten too
        function.image_config = ImageConfig(config_updates["ImageConfig"] or {})
    return _MOTOS_UPDATE(function, config_updates)


def _get_configuration(function: Any, on_create: bool = False) -> dict[str, Any]:
    target = getattr(function, "dead_letter_target", "")
    return _MOTOS_CONFIGURATION(function, on_create) | ({"DeadLetterConfig": {"TargetArn": target}} if target else {})


def _target(members: dict[str, Any]) -> str:
    return str((members.get("DeadLetterConfig") or {}).get("TargetArn") or "")


# Settings of asynchronous calls, of which moto keeps all and returns the first


def _put_event_config(backend: LambdaBackend, function_name: str, config: dict[str, Any]) -> dict[str, Any]:
    response = _MOTOS_PUT_EVENT_CONFIG(backend, function_name, config)
    function = backend.get_function(function_name)
    function.event_invoke_config = function.event_invoke_config[-1:]
    return response


def _update_event_config(backend: LambdaBackend, function_name: str, config: dict[str, Any]) -> dict[str, Any]:
    before = backend.get_function(function_name).event_invoke_config
    return _put_event_config(backend, function_name, {**(before[-1].config if before else {}), **config})


# Event source mappings


def _create_mapping(backend: LambdaBackend, spec: dict[str, Any]) -> EventSourceMapping:
    """Keep moto's SQS from calling functions while a message is sent: the emulator polls queues, as Lambda does."""
    try:
        mapping = _MOTOS_CREATE_MAPPING(backend, spec)
    except ValueError as error:
        raise InvalidParameterValueException(str(error.args[-1])) from None
    _keep_alias(backend, mapping, spec)
    for queue in sqs_backends[backend.account_id][backend.region_name].queues.values():
        queue.lambda_event_source_mappings.clear()
    return mapping


def _update_mapping(backend: LambdaBackend, uuid: str, spec: dict[str, Any]) -> EventSourceMapping:
    try:
        mapping = _MOTOS_UPDATE_MAPPING(backend, uuid, spec)
    except ValueError as error:
        raise InvalidParameterValueException(str(error.args[-1])) from None
    if mapping is None:
        raise GenericResourcNotFound
    _keep_alias(backend, mapping, spec)
    return mapping


def _delete_mapping(backend: LambdaBackend, uuid: str) -> EventSourceMapping:
    if (mapping := _MOTOS_DELETE_MAPPING(backend, uuid)) is None:
        raise GenericResourcNotFound
    return mapping


def _keep_alias(backend: LambdaBackend, mapping: EventSourceMapping, spec: dict[str, Any]) -> None:
    """Call what the mapping names: moto keeps the version that an alias has now, and the alias may move on."""
    if name := spec.get("FunctionName"):
        mapping.function_arn = FunctionReference.parse(name, backend.region_name).arn
