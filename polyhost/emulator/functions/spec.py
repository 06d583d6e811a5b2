"""What runs a function: one version's code and configuration, read from moto's records."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.functions.errors import FunctionNotFound
from polyhost.emulator.functions.event_settings import EventSettings
from polyhost.emulator.moto_services.loaded import loaded_backends

LATEST = "$LATEST"
_ARN = re.compile(r"arn:[^:]+:lambda:(?P<region>[^:]+):\d+:function:(?P<name>[^:]+)(?::(?P<qualifier>.+))?")
_PARTIAL = re.compile(r"(?:\d+:function:|function:)?(?P<name>[^:]+)(?::(?P<qualifier>.+))?")


@dataclass(frozen=True)
class CodePart:
    """A zip of a function: its own, or a layer's. Parts are equal if their digests are."""

    digest: str
    content: bytes = field(compare=False, repr=False)


@dataclass(frozen=True)
class ImageSpec:
    """A function's container image by its name, its id in the engine, and what replaces settings of its own."""

    uri: str
    id: str  # of the time when the code was set: a change of the image is another spec
    entry_point: tuple[str, ...]
    command: tuple[str, ...]
    working_directory: str


@dataclass(frozen=True)
class FunctionSpec:
    """A version of a function. Environments serve one spec: a change of the function is another spec."""

    region: str
    name: str
    version: str
    arn: str
    package_type: str
    image: ImageSpec | None
    runtime: str
    handler: str
    code: CodePart
    layers: tuple[CodePart, ...]
    variables: tuple[tuple[str, str], ...]
    memory_mb: int
    timeout_s: int

    @property
    def log_group(self) -> str:
        return f"/aws/lambda/{self.name}"


@dataclass(frozen=True)
class FunctionReference:
    """A function as requests name it: by name, partial ARN or ARN, with or without a version or an alias."""

    region: str
    name: str
    qualifier: str | None

    @classmethod
    def parse(cls, text: str, region: str, qualifier: str | None = None) -> "FunctionReference":
        """Read the reference. Raises FunctionNotFound for what can be no function's name."""
        found = _ARN.fullmatch(text) or _PARTIAL.fullmatch(text)
        if found is None:
            raise FunctionNotFound(f"Function not found: {text}", Type="User")
        parts = found.groupdict()
        return cls(parts.get("region") or region, parts["name"], parts["qualifier"] or qualifier)

    @property
    def arn(self) -> str:
        arn = f"arn:aws:lambda:{self.region}:{ACCOUNT}:function:{self.name}"
        return f"{arn}:{self.qualifier}" if self.qualifier else arn


def require_spec(reference: FunctionReference) -> FunctionSpec:
    """Return the version that a reference names. Raises FunctionNotFound, with AWS's words."""
    record = _record(reference)
    if record is None:
        raise FunctionNotFound(f"Function not found: {reference.arn}", Type="User")
    return _spec(record)


def all_specs() -> Iterator[FunctionSpec]:
    """Yield all versions of all functions that there are."""
    for backend in _backends():
        for group in list(backend._lambdas._functions.values()):
            for record in (group["latest"], *group["versions"]):
                if record is not None:
                    yield _spec(record)


def latest_specs() -> Iterator[FunctionSpec]:
    """Yield the functions as they are now, without their published versions."""
    for backend in _backends():
        for group in list(backend._lambdas._functions.values()):
            if group["latest"] is not None:
                yield _spec(group["latest"])


def reserved_concurrency(reference: FunctionReference) -> int | None:
    """Return how many executions the function may have at most, or None if it has no limit of its own."""
    latest = _record(FunctionReference(reference.region, reference.name, None))
    reserved = latest.reserved_concurrency if latest is not None else None
    return None if reserved is None else int(reserved)


def event_settings_of(reference: FunctionReference) -> EventSettings:
    """Return the function's settings for asynchronous calls."""
    latest = _record(FunctionReference(reference.region, reference.name, None))
    if latest is None:
        return EventSettings()
    config = latest.event_invoke_config[-1].config if latest.event_invoke_config else {}
    return EventSettings.of(config, getattr(latest, "dead_letter_target", ""))


def url_function(url_id: str) -> tuple[FunctionReference, dict[str, Any]] | None:
    """Return the function with this function URL, and the URL's configuration."""
    for found, reference, config in _urls():
        if found == url_id:
            return reference, config
    return None


def all_function_urls() -> Iterator[tuple[str, FunctionReference]]:
    """Yield the ids of all function URLs, with their functions."""
    for url_id, reference, _ in _urls():
        yield url_id, reference


def _urls() -> Iterator[tuple[str, FunctionReference, dict[str, Any]]]:
    for backend in _backends():
        for group in list(backend._lambdas._functions.values()):
            for record in (group["latest"], *group["versions"]):
                url = record.url_config if record is not None else None
                if url is not None:
                    url_id = url.url.removeprefix("https://").partition(".")[0]
                    yield url_id, FunctionReference.parse(record.function_arn, record.region), url.config


def _backends() -> list[Any]:
    return [backend for _, backend in loaded_backends("moto.awslambda.models", "lambda_backends")]


def _record(reference: FunctionReference) -> Any:
    from moto.awslambda.exceptions import UnknownFunctionException
    from moto.awslambda.models import lambda_backends

    try:
        return lambda_backends[ACCOUNT][reference.region].get_function(reference.name, reference.qualifier)
    except (UnknownFunctionException, KeyError):  # KeyError: moto has no backend for the region
        return None


def _spec(record: Any) -> FunctionSpec:
    return FunctionSpec(
        region=record.region,
        name=record.function_name,
        version=str(record.version),
        arn=record.function_arn,
        package_type=record.package_type,
        image=_image(record),
        runtime=record.run_time or "",
        handler=record.handler or "",
        code=CodePart(record.code_sha_256, getattr(record, "code_bytes", b"")),
        layers=tuple(_layers(record)),
        variables=tuple(sorted((record.environment_vars or {}).items())),
        memory_mb=int(record.memory_size),
        timeout_s=int(record.timeout),
    )


def _image(record: Any) -> ImageSpec | None:
    if record.package_type != "Image":
        return None
    config = record.image_config
    return ImageSpec(
        uri=record.code.get("ImageUri", ""),
        id=f"sha256:{record.code_sha_256}",
        entry_point=tuple(config.entry_point or ()),
        command=tuple(config.cmd or ()),
        working_directory=config.working_directory or "",
    )


def _layers(record: Any) -> Iterator[CodePart]:
    from moto.awslambda.models import lambda_backends

    for layer in record.layers:
        version = lambda_backends[ACCOUNT][record.region].layers_versions_by_arn(layer["Arn"])
        if version is not None:
            yield CodePart(version.code_sha_256, version.code_bytes)
