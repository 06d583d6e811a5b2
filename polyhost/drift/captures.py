"""Rows of captured requests and responses: what the lines of data capture hold."""

import base64
import binascii
import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from polyhost.drift.errors import DriftError

# Without names the cells of a row are a list; with names they are a dictionary.
Row = list[Any] | dict[str, Any]
_WRAPPERS = ("instances", "inputs", "predictions", "outputs")
_TEXT_TYPES = ("text/csv", "application/json")


@dataclass(frozen=True)
class CapturedCall:
    """One captured invocation: the rows that it asked for, and those of its response."""

    event_id: str  # the inference ID, if the client sent one: ground truth is matched by it
    at: float  # seconds since 1970
    model: str | None
    inputs: list[Row]
    outputs: list[Row]


@dataclass(frozen=True)
class Attributes:
    """Which part of a body counts, as EndpointInput has it: a JMESPath, or the index of a column of CSV."""

    features: str | None = None
    inference: str | None = None


def read_calls(lines: Iterable[bytes], source: str, attributes: Attributes | None = None) -> Iterator[CapturedCall]:
    """Read the lines of data capture. Raises DriftError, with the line, for anything else."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _read_call(json.loads(line), attributes or Attributes())
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DriftError(
                f"line {number} of {source} is not a captured invocation ({error!r}); use the files of data capture"
            ) from error


def _read_call(document: Mapping[str, Any], attributes: Attributes) -> CapturedCall:
    data, metadata = document["captureData"], document["eventMetadata"]
    inputs = rows_of_part(data.get("endpointInput"), None, attributes.features)
    at = datetime.strptime(metadata["inferenceTime"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    outputs = rows_of_part(data.get("endpointOutput"), len(inputs) or None, attributes.inference)
    return CapturedCall(
        metadata.get("inferenceId") or metadata["eventId"], at, metadata.get("targetModel"), inputs, outputs
    )


def rows_of_part(
    part: Mapping[str, str] | None, expected: int | None = None, attribute: str | None = None
) -> list[Row]:
    """Return a body's rows. `expected` is how many there should be, which tells a column from a row."""
    if part is None:
        return []
    encoding, data = part["encoding"], part["data"]
    media_type = part["observedContentType"].partition(";")[0].strip().lower()
    if encoding == "BASE64":
        if media_type not in _TEXT_TYPES:
            raise ValueError(f"{media_type} cannot be read; name it in CaptureContentTypeHeader if it is text")
        try:
            data = base64.b64decode(data, validate=True).decode()
        except binascii.Error as error:
            raise ValueError(f"the data is not base64: {error}") from error
        encoding = "CSV" if media_type == "text/csv" else "JSON"
    if encoding == "CSV":
        return _csv_rows(data, attribute)
    document = json.loads(data)
    return rows_of_json(document if attribute is None else _search(attribute, document), expected)


def _csv_rows(text: str, attribute: str | None) -> list[Row]:
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    if attribute is None:
        return list(rows)
    if not attribute.isdecimal():
        raise ValueError(f"the attribute {attribute!r} is not the index of a column")
    return [[row[int(attribute)]] for row in rows]


def rows_of_json(document: Any, expected: int | None = None) -> list[Row]:
    """Return the rows of a document of JSON.

    A list of values is one row, or a column if it has as many values as rows are expected.
    """
    if isinstance(document, dict):
        wrapped = [document[name] for name in _WRAPPERS if isinstance(document.get(name), list)]
        return rows_of_json(wrapped[0], expected) if len(document) == 1 and wrapped else [_flat(document)]
    if not isinstance(document, list):
        return [[document]]
    if any(isinstance(item, list | dict) for item in document):
        return [row for item in document for row in rows_of_json(item)]
    return [[item] for item in document] if len(document) == expected else [document]


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested object's values by the names of their levels, joined by `_`; a list by its indexes."""
    flat: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, list):
            value = {str(index): item for index, item in enumerate(value)}
        flat |= _flat(value, f"{prefix}{name}_") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _search(attribute: str, document: Any) -> Any:
    import jmespath

    try:
        found = jmespath.search(attribute.removeprefix("$."), document)
    except jmespath.exceptions.JMESPathError as error:
        raise ValueError(f"the attribute {attribute!r} is not a JMESPath: {error}") from error
    if found is None:
        raise ValueError(f"the attribute {attribute!r} finds nothing")
    return found
