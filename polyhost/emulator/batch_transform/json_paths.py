"""The subset of JSONPath that batch transform supports (developer guide, batch-transform-data-processing)."""

import warnings
from typing import Any

from jsonpath_ng.exceptions import JSONPathError
from jsonpath_ng.parser import parse

from polyhost.emulator.batch_transform.failures import FailureKind, TransformError


class JsonPath:
    """A path that selects a part of a record. Raises TransformError if it is not one that SageMaker supports."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._path: Any = _parse(text)
        steps = _steps(text, self._path)
        self.is_root = not steps
        self.has_names = any(_kind(step) == "Fields" for step in steps)
        self._several = [_count(step) != 1 for step in steps]
        self._least = _product(_count(step) for step in steps)
        # Several names of one object select a smaller object; several of anything else, a list.
        self._object = (
            bool(steps) and _kind(steps[-1]) == "Fields" and self._several == [False] * (len(steps) - 1) + [True]
        )

    def select(self, value: Any) -> Any:
        """Return the part of a JSON value. Raises TransformError if there is nothing at the path."""
        if self.is_root:
            return value
        found = self._path.find(value)
        if len(found) < self._least:
            raise TransformError(FailureKind.CLIENT, f"Invalid JsonPath: {self.text}: a record has nothing there")
        if self._object:
            return {match.path.fields[0]: match.value for match in found}
        return [match.value for match in found] if any(self._several) else found[0].value


def _parse(text: str) -> Any:

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # about operators that are rejected below
            return parse(text)
    except JSONPathError as error:
        # The words of aws/sagemaker-python-sdk, issue 1112, as far as they are the same.
        raise _invalid(text, " ".join(str(error).split())) from None


def _steps(text: str, path: Any) -> list[Any]:
    """Return the steps from the root. Raises TransformError for operators that are not supported."""
    steps: list[Any] = []
    while _kind(path) == "Child":
        steps.append(path.right)
        path = path.left
    if _kind(path) != "Root":
        raise _invalid(text, "it must start with $, and have names, indexes, one range or * only")
    for step in steps:
        if _kind(step) not in ("Fields", "Index", "Slice", "Wildcard"):
            raise _invalid(text, "only names, indexes, ranges and * are supported")
        if _kind(step) == "Slice" and step.step is not None:
            raise _invalid(text, "only single range filters of format (eg: [1:5]) are supported")
    return steps[::-1]


def _kind(step: Any) -> str:
    return type(step).__name__


def _count(step: Any) -> int:
    """Return how many values a step selects at least: 0 if that depends on the record."""
    if _kind(step) == "Fields":
        return 0 if step.fields == ("*",) else len(step.fields)
    return len(step.indices) if _kind(step) == "Index" else 0


def _product(counts: Any) -> int:
    product = 1
    for count in counts:
        product *= count
    return product


def _invalid(text: str, reason: str) -> TransformError:
    return TransformError(FailureKind.CLIENT, f"Invalid JsonPath: {text}: {reason}")
