import datetime
import io
import json
from collections.abc import Callable
from typing import Any

import numpy
import pytest

from polyhost.handlers.body.encoders import encode
from polyhost.handlers.body.media_types import CSV, JSON, JSON_LINES, NPY
from polyhost.handlers.errors import HandlerError, NotAcceptableError


@pytest.mark.parametrize(
    ("prediction", "text"),
    [
        (numpy.array([1, 2]), "[1, 2]"),
        (numpy.float32(0.5), "0.5"),
        ([numpy.int64(1), numpy.array([2.5])], "[1, [2.5]]"),
        ({"a": numpy.bool_(True)}, '{"a": true}'),
        (numpy.array(["é"]), '["é"]'),
        (numpy.array([1, numpy.nan, numpy.inf, -numpy.inf]), "[1.0, null, null, null]"),
        ({"a": [float("nan"), (numpy.float32("inf"), 1)]}, '{"a": [null, [null, 1]]}'),
        (datetime.date(2024, 2, 29), '"2024-02-29"'),
        (None, "null"),
    ],
)
def test_json(prediction: Any, text: str) -> None:
    assert encode(prediction, JSON).decode() == text


@pytest.mark.parametrize(
    ("prediction", "lines"),
    [
        (numpy.array([1, 2]), "1\n2\n"),
        ([[1, 2.5], [3, 4]], "1,2.5\n3,4\n"),
        (["a, b", 'c"'], '"a, b"\n"c"""\n'),
        (3, "3\n"),
        ([float("nan")], "nan\n"),
        ([(numpy.float64(1.5), numpy.array("x")), (numpy.array(2), None)], "1.5,x\n2,\n"),
    ],
)
def test_csv(prediction: Any, lines: str) -> None:
    assert encode(prediction, CSV).decode() == lines


def test_json_lines() -> None:
    assert encode(numpy.array([[1.0, numpy.nan], [2, 3]]), JSON_LINES) == b"[1.0, null]\n[2.0, 3.0]\n"


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        (numpy.eye(2, dtype=numpy.float32), numpy.eye(2, dtype=numpy.float32)),
        (numpy.zeros((0, 3), numpy.int8), numpy.zeros((0, 3), numpy.int8)),
        (numpy.array(["a", "bc"], dtype=object), numpy.array(["a", "bc"])),
        ([[1, 2], [3, 4]], numpy.array([[1, 2], [3, 4]])),
        ([numpy.array([1, 2], numpy.float32)], numpy.array([[1, 2]], numpy.float32)),
    ],
)
def test_npy(prediction: Any, expected: Any) -> None:
    read = numpy.load(io.BytesIO(encode(prediction, NPY)), allow_pickle=False)
    assert (read.dtype, read.shape) == (expected.dtype, expected.shape)
    assert (read == expected).all()


@pytest.mark.parametrize(
    ("module", "make", "media_type", "text"),
    [
        ("pandas", lambda pandas: pandas.DataFrame({"a": [1, 2]}), JSON, "[[1], [2]]"),
        ("pandas", lambda pandas: pandas.DataFrame({"a": [1], "b": [2]}), CSV, "1,2\n"),
        ("pandas", lambda pandas: pandas.Series([1, 2]), JSON, "[1, 2]"),
        ("scipy.sparse", lambda sparse: sparse.eye_array(2), JSON, "[[1.0, 0.0], [0.0, 1.0]]"),
        ("scipy.sparse", lambda sparse: sparse.eye_array(2), NPY, encode(numpy.eye(2), NPY).decode("latin-1")),
        ("torch", lambda torch: torch.tensor([[1.0, float("nan")]]), JSON, "[[1.0, null]]"),
        ("torch", lambda torch: [(torch.tensor(2), None)], CSV, "2,\n"),
        ("torch", lambda torch: torch.ones(2), NPY, encode(numpy.ones(2), NPY).decode("latin-1")),
    ],
)
def test_objects_of_libraries(module: str, make: Callable[[Any], Any], media_type: str, text: str) -> None:
    assert encode(make(pytest.importorskip(module)), media_type).decode("latin-1") == text


@pytest.mark.parametrize(
    ("prediction", "media_type"),
    [
        (numpy.zeros((1, 2, 3)), CSV),
        ([(numpy.zeros(2), numpy.zeros(2))], CSV),
        ([[(1, 2)]], CSV),
        ([{"a": 1}], CSV),
        ([{"a": 1}], NPY),
        ([[1], [2, 3]], NPY),
        ([None], NPY),
    ],
)
def test_predictions_that_do_not_fit_the_media_type(prediction: Any, media_type: str) -> None:
    with pytest.raises(NotAcceptableError, match="ask for application/json"):
        encode(prediction, media_type)


def test_half_a_surrogate_pair() -> None:
    """A tokenizer may end a text within a character."""
    half = "\N{GRINNING FACE}".encode("utf-16-le")[:2].decode("utf-16-le", "surrogatepass")
    assert json.loads(encode({"text": [half]}, JSON)) == {"text": [half]}
    assert json.loads(encode([half], JSON_LINES)) == half
    with pytest.raises(NotAcceptableError, match="ask for application/json"):
        encode([half], CSV)


def test_unwritable_predictions() -> None:
    with pytest.raises(HandlerError, match="holds a object, which cannot be written"):
        encode([object()], JSON)


def test_json_is_always_valid() -> None:
    text = encode({"x": [numpy.nan, {"y": numpy.array([numpy.inf])}]}, JSON)
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name)) == {"x": [None, {"y": [None]}]}
