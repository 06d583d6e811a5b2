"""Captured answers of variants: AWS's lines of JSON, in a folder or below a prefix in S3."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from polyhost.comparison.errors import ComparisonError

Answers = dict["CapturedRequest", list[Any]]


class CapturedRequest(NamedTuple):
    """What makes two requests the same: the client's identifier or, without one, the body."""

    inference_id: str | None
    model: str | None
    content_type: str
    data: str


def read_answers(session: Any, place: str, endpoint: str, variant: str) -> Answers:
    """Return a variant's answers by request, in the order of the lines. Raises ComparisonError."""
    answers: Answers = defaultdict(list)
    for source, text in _files(session, place, f"{endpoint}/{variant}/"):
        for number, line in enumerate(text.splitlines(), 1):
            try:
                if (pair := _answer(json.loads(line))) is not None:
                    answers[pair[0]].append(pair[1])
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ComparisonError(f"{source}, line {number}, is no capture: {error!r}") from error
    return answers


def agreement(one: Answers, other: Answers, tolerance: float) -> tuple[int, int]:
    """Return how many answers to the same requests agree, and how many there are."""
    pairs = [pair for request, answers in one.items() for pair in zip(answers, other.get(request, []), strict=False)]
    return sum(_agree(left, right, tolerance) for left, right in pairs), len(pairs)


def _answer(line: dict[str, Any]) -> tuple[CapturedRequest, Any] | None:
    """Return a line's request and answer, None if one of them was not captured."""
    data, metadata = line["captureData"], line["eventMetadata"]
    if "endpointInput" not in data or "endpointOutput" not in data:
        return None
    sent, got = data["endpointInput"], data["endpointOutput"]
    identifier = metadata.get("inferenceId")
    body = "" if identifier else sent["data"]
    request = CapturedRequest(identifier, metadata.get("targetModel"), sent["observedContentType"], body)
    return request, _parsed(got["data"], got["encoding"])


def _parsed(data: str, encoding: str) -> Any:
    if encoding != "JSON":
        return data
    try:
        return json.loads(data)
    except ValueError:
        return data


def _agree(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_agree(*pair, tolerance) for pair in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_agree(one[key], other[key], tolerance) for key in one)
    if _is_number(one) and _is_number(other):
        return math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    return type(one) is type(other) and bool(one == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _files(session: Any, place: str, variant: str) -> Iterator[tuple[str, str]]:
    if place.startswith("s3://"):
        yield from _objects(session.client("s3"), place, variant)
        return
    folder = Path(place)
    if not folder.is_dir():
        raise ComparisonError(f"{place} is no folder of captures, and no address that begins with s3://")
    # The folder of the endpoint's captures, as in S3, or one that is above it.
    for file in sorted(folder.rglob("*.jsonl")):
        if f"/{variant}" in f"/{file.relative_to(folder).as_posix()}":
            yield str(file), file.read_text()


def _objects(s3: Any, place: str, variant: str) -> Iterator[tuple[str, str]]:
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    start = f"{prefix.rstrip('/')}/{variant}".lstrip("/")
    try:
        for key in _keys(s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=start)):
            yield f"s3://{bucket}/{key}", s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()
    except s3.exceptions.ClientError as error:
        raise ComparisonError(f"cannot read captures at {place}: {error}") from error


def _keys(pages: Iterable[Any]) -> Sequence[str]:
    found = [item["Key"] for page in pages for item in page.get("Contents", [])]
    return sorted(key for key in found if key.endswith(".jsonl"))
