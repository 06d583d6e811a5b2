"""The objects of a job's input, listed by prefix or by manifest."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyhost.emulator.batch_transform.failures import FailureKind, TransformError
from polyhost.emulator.batch_transform.spec import DataType, InputSpec
from polyhost.emulator.errors import StorageError
from polyhost.emulator.object_storage import ObjectStorage

_OUTPUT_SUFFIX = ".out"


@dataclass(frozen=True)
class InputObject:
    """An object to transform. `relative` is its name within the input."""

    uri: str
    relative: str

    @property
    def label(self) -> str:
        """The object's name in the service's logs: bucket and key."""
        return self.uri.partition("://")[2]

    def output_uri(self, path: str) -> str:
        """Return the address of its output below the output path."""
        return f"{path.rstrip('/')}/{self.relative}{_OUTPUT_SUFFIX}"


async def list_inputs(storage: ObjectStorage, region: str, spec: InputSpec, folder: Path) -> list[InputObject]:
    """Return the objects of the input, each once. Raises TransformError for an empty input or a broken manifest."""
    try:
        if spec.data_type is DataType.MANIFEST:
            found = _from_manifest(spec.uri, await _read_manifest(storage, region, spec.uri, folder))
        else:
            listed = await storage.list(region, spec.uri)
            # Consoles mark folders by empty objects.
            uris = [item.uri for item in listed if item.size or not item.uri.endswith("/")]
            found = [InputObject(uri, _relative(uri, spec.uri)) for uri in uris]
    except StorageError as error:
        raise TransformError(FailureKind.CLIENT, str(error)) from error
    if not found:
        raise TransformError(
            FailureKind.CLIENT,
            f'No S3 objects found under S3 URL "{spec.uri}" given in input data source. Please ensure that the bucket'
            f" exists in the selected region ({region}), and that objects exist under that S3 prefix.",
        )
    return list(dict.fromkeys(found))


def _relative(uri: str, prefix: str) -> str:
    """Return the part of an address behind the folder that the prefix names, or in which the prefix ends."""
    start = f"s3://{prefix.partition('://')[2]}"
    if not start.endswith("/") and uri.startswith(f"{start}/"):
        return uri[len(start) + 1 :]
    folder = start[: start.rindex("/") + 1]
    return uri.removeprefix(folder)


async def _read_manifest(storage: ObjectStorage, region: str, uri: str, folder: Path) -> Any:
    with tempfile.TemporaryDirectory(dir=folder) as work:
        path = Path(work, "manifest")
        await storage.download(region, uri, path)
        try:
            return json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise _no_manifest(uri, f"it is not JSON: {error}") from None


def _from_manifest(uri: str, content: Any) -> list[InputObject]:
    """Parse a manifest: a JSON list of an object with the prefix, and of names below it (botocore, S3Uri)."""
    if not isinstance(content, list) or not content:
        raise _no_manifest(uri, "it is not a list")
    head, *names = content
    prefix = head.get("prefix") if isinstance(head, dict) else None
    if not isinstance(prefix, str) or not prefix.startswith("s3://"):
        raise _no_manifest(uri, 'it does not begin with {"prefix": "s3://..."}')
    for number, name in enumerate(names, 2):
        if not isinstance(name, str) or not name:
            raise _no_manifest(uri, f"item {number} is not the name of an object: {name!r}")
    return [InputObject(f"{prefix}{name}", name.lstrip("/")) for name in names]


def _no_manifest(uri: str, reason: str) -> TransformError:
    form = '[{"prefix": "s3://BUCKET/PREFIX/"}, "NAME", ...]'
    return TransformError(FailureKind.CLIENT, f"{uri} is no manifest: {reason}; a manifest is {form}")
