"""The subset of JSONPath that SageMaker documents."""

from typing import Any

import pytest

from polyhost.emulator.batch_transform.failures import FailureKind, TransformError
from polyhost.emulator.batch_transform.json_paths import JsonPath

ROW = ["a", "b", "c", "d", "e", "f"]
RECORD = {"id": 7, "features": [1, 2, 3], "a b": {"x": 1, "y": 2}, "SageMakerOutput": {"label": "cat", "p": [0.1]}}


@pytest.mark.parametrize(
    ("path", "value", "selected"),
    [
        ("$", ROW, ROW),
        ("$[1]", ROW, "b"),
        ("$[-1]", ROW, "f"),
        ("$[1,3,5]", ROW, ["b", "d", "f"]),
        ("$[0,-1]", ROW, ["a", "f"]),
        ("$[2:5]", ROW, ["c", "d", "e"]),
        ("$[1:]", ROW, ROW[1:]),
        ("$[:2]", ROW, ROW[:2]),
        ("$[:-1]", ROW, ROW[:-1]),
        ("$[*]", ROW, ROW),
        ("$[7:]", ROW, []),
        ("$.id", RECORD, 7),
        ("$['id']", RECORD, 7),
        ("$.features", RECORD, [1, 2, 3]),
        ("$.features[1:]", RECORD, [2, 3]),
        ("$.SageMakerOutput.label", RECORD, "cat"),
        ("$['id','SageMakerOutput']", RECORD, {"id": 7, "SageMakerOutput": RECORD["SageMakerOutput"]}),
        ("$.['a b'].['x','y']", RECORD, {"x": 1, "y": 2}),
        ("$['a b'].*", RECORD, [1, 2]),
        ("$[*].id", [{"id": 1}, {"id": 2}], [1, 2]),
    ],
)
def test_supported_paths(path: str, value: Any, selected: Any) -> None:
    assert JsonPath(path).select(value) == selected


@pytest.mark.parametrize(
    "path",
    ["", "id", "$[", "$['id'", "$..label", "$[0:2,4:]", "$[::2]", "$[?(@.id)]", "$.a|b", "@", "$[1.5]"],
)
def test_other_paths_are_rejected(path: str) -> None:
    with pytest.raises(TransformError) as caught:
        JsonPath(path)
    assert str(caught.value).startswith(f"Invalid JsonPath: {path}: ")
    assert caught.value.kind is FailureKind.CLIENT


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$[6]", ROW),
        ("$[-7]", ROW),
        ("$[0,6]", ROW),
        ("$.none", RECORD),
        ("$['id','none']", RECORD),
        ("$.id", ROW),
        ("$[0]", {}),
    ],
)
def test_a_path_to_nothing_is_an_error(path: str, value: Any) -> None:
    with pytest.raises(TransformError, match="a record has nothing there"):
        JsonPath(path).select(value)


def test_names_are_told_from_indexes() -> None:
    assert JsonPath("$.a[0]").has_names
    assert not JsonPath("$[0]").has_names
    assert JsonPath("$").is_root
    assert not JsonPath("$[*]").is_root
