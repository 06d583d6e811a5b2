"""The demo's requests: a trial sends held-out samples in one format and counts how many predictions are right."""

import io
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from examples.demo.digits import Samples
from examples.demo.endpoint import Endpoint

PNG, CSV, JSON, NPY = "image/png", "text/csv", "application/json", "application/x-npy"

Sample = NDArray[Any]


@dataclass(frozen=True)
class Trial:
    """One format: how a sample is sent, how its class is read from the response, and how often that must be right."""

    content_type: str
    encode: Callable[[Sample], bytes]
    predicted_class: Callable[[Any], int]
    floor: float


@dataclass(frozen=True)
class Score:
    """The result of a trial."""

    accuracy: float
    samples: int
    first_ms: float
    warm_ms: float


def run(endpoint: Endpoint, archive: str, trial: Trial, held_out: Samples) -> Score:
    """Send every held-out sample as a request of its own; the first request of a model loads it."""
    times, right = [], 0
    for sample, wanted in zip(held_out.x, held_out.y, strict=True):
        body = trial.encode(sample)
        start = time.perf_counter()
        response = endpoint.invoke(archive, body, trial.content_type)
        times.append((time.perf_counter() - start) * 1e3)
        right += trial.predicted_class(response) == wanted
    return Score(right / len(times), len(times), times[0], statistics.median(times[1:]))


def csv_row(sample: Sample) -> bytes:
    """Return the sample as one row of CSV."""
    return ",".join(f"{value:g}" for value in sample.ravel()).encode()


def json_row(sample: Sample) -> bytes:
    """Return the sample as a JSON list with one row."""
    return json.dumps([sample.ravel().tolist()]).encode()


def json_object(sample: Sample) -> bytes:
    """Return a point as a JSON object."""
    return json.dumps({"data1": sample[0], "data2": sample[1]}).encode()


def npy_row(sample: Sample) -> bytes:
    """Return the sample as a NumPy array with one row."""
    return _npy(sample.reshape(1, -1))


def npy_image(sample: Sample) -> bytes:
    """Return the sample as a NumPy array with one image of one channel."""
    return _npy(sample[None, None])


def _npy(array: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def likeliest(response: list[str]) -> int:
    """Return the class of the first of "probability=0.98, class=digit 3", ..."""
    return int(response[0].rpartition(" ")[2])


def likeliest_of_row(response: list[list[str]]) -> int:
    """Return the same of the one row that was sent."""
    (row,) = response
    return likeliest(row)


def only(response: list[int]) -> int:
    """Return the one prediction for the one row that was sent."""
    (prediction,) = response
    return prediction
