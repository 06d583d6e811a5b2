"""One object in, one object out, whatever the model answers."""

from __future__ import annotations

import json
from typing import Any

import numpy
import pandas
import pytest
import scipy.sparse
import torch

from polyhost.handlers.base import as_asked
from polyhost.handlers.encoders import encode
from polyhost.handlers.media_types import CSV, JSON
from polyhost.handlers.payload import Rows

ONE = Rows([[1, 2]], ("a", "b"), single=True)


@pytest.mark.parametrize(
    ("prediction", "answer"),
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
        (pandas.DataFrame({"a": [1], "b": [2]}), [1, 2]),
        (pandas.Series([1], index=[7]), 1),
        (scipy.sparse.eye_array(1, 2), [1, 0]),
        (torch.tensor([[1, 2]]), [1, 2]),
    ],
)
def test_one_object(prediction: Any, answer: Any) -> None:
    assert json.loads(encode(as_asked(prediction, ONE, JSON), JSON)) == {"prediction": answer}


def test_one_object_as_csv_is_a_row() -> None:
    prediction = numpy.array([3])
    assert as_asked(prediction, ONE, CSV) is prediction
