"""What the demo asks its models: each trial sends held-out samples in one format and counts the right answers."""

import io
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from examples.digits import Samples
from examples.endpoint import Endpoint

PNG, CSV, JSON, NPY = "image/png", "text/csv", "application/json", "application/x-npy"

Sample = NDArray[Any]


@dataclass(frozen=True)
class Trial:
    """One format: how a sample is sent, how its class is read from the answer, and how often that must be right."""

    sent: str
    send: Callable[[Sample], bytes]
    read: Callable[[Any], int]
    floor: float


@dataclass(frozen=True)
class Score:
    """What a trial showed."""

    accuracy: float
    samples: int
    first_ms: float
    warm_ms: float


def ask(endpoint: Endpoint, archive: str, trial: Trial, held_out: Samples) -> Score:
    """Send every held-out sample on its own; the first request of a model loads it."""
    times, right = [], 0
    for sample, wanted in zip(held_out.x, held_out.y, strict=True):
        body = trial.send(sample)
        start = time.perf_counter()
        answer = endpoint.invoke(archive, body, trial.sent)
        times.append((time.perf_counter() - start) * 1e3)
        right += trial.read(answer) == wanted
    return Score(right / len(times), len(times), times[0], statistics.median(times[1:]))


def csv_row(sample: Sample) -> bytes:
    return ",".join(f"{value:g}" for value in sample.ravel()).encode()


def json_row(sample: Sample) -> bytes:
    return json.dumps([sample.ravel().tolist()]).encode()


def json_object(sample: Sample) -> bytes:
    return json.dumps({"data1": sample[0], "data2": sample[1]}).encode()


def npy_row(sample: Sample) -> bytes:
    return _npy(sample.reshape(1, -1))


def npy_image(sample: Sample) -> bytes:
    return _npy(sample[None, None])


def _npy(array: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def likeliest(answer: list[str]) -> int:
    """The first of "probability=0.98, class=digit 3", ..."""
    return int(answer[0].rpartition(" ")[2])


def likeliest_of_row(answer: list[list[str]]) -> int:
    """The same for the one row that was sent."""
    (row,) = answer
    return likeliest(row)


def only(answer: list[int]) -> int:
    """The one prediction for the one row that was sent."""
    (prediction,) = answer
    return prediction
