"""One object in, one object out, whatever the model returns."""

import json
from collections.abc import Callable
from typing import Any

import numpy
import pytest

from polyhost.handlers.base import in_form_of_request
from polyhost.handlers.body.encoders import encode
from polyhost.handlers.body.media_types import CSV, JSON
from polyhost.handlers.body.payload import Rows

ONE = Rows([[1, 2]], ("a", "b"), single=True)


@pytest.mark.parametrize(
    ("prediction", "value"),
    [
        (numpy.array([3]), 3),
        (numpy.array([[0.5, 0.25]]), [0.5, 0.25]),
        (["cat"], "cat"),
        ([numpy.array([[0.5, 0.25]]), numpy.array([7])], [[0.5, 0.25], 7]),
        ((numpy.array([1]), [numpy.array([2]), numpy.array([3])]), [1, [2, 3]]),
        ([(numpy.array([4, 5]), numpy.array([2, 3]))], [[4, 5], [2, 3]]),
        ({"scores": numpy.array([[0.5]]), "classes": ["cat"]}, {"scores": [0.5], "classes": "cat"}),
        ([{"class": "cat"}], {"class": "cat"}),
        (numpy.array(0.5), 0.5),
        (numpy.float32(0.5), 0.5),
        (0.5, 0.5),
        ("cat", "cat"),
        (None, None),
        ([], []),
        (numpy.array([0.5, 0.25, 0.25]), [0.5, 0.25, 0.25]),
    ],
)
def test_one_object(prediction: Any, value: Any) -> None:
    assert json.loads(encode(in_form_of_request(prediction, ONE, JSON), JSON)) == {"prediction": value}


@pytest.mark.parametrize(
    ("module", "make", "value"),
    [
        ("pandas", lambda pandas: pandas.DataFrame({"a": [1], "b": [2]}), [1, 2]),
        ("pandas", lambda pandas: pandas.Series([1], index=[7]), 1),
        ("scipy.sparse", lambda sparse: sparse.eye_array(1, 2), [1, 0]),
        ("torch", lambda torch: torch.tensor([[1, 2]]), [1, 2]),
    ],
)
def test_one_object_of_a_library(module: str, make: Callable[[Any], Any], value: Any) -> None:
    prediction = make(pytest.importorskip(module))
    assert json.loads(encode(in_form_of_request(prediction, ONE, JSON), JSON)) == {"prediction": value}


def test_one_object_as_csv_is_a_row() -> None:
    prediction = numpy.array([3])
    assert in_form_of_request(prediction, ONE, CSV) is prediction
