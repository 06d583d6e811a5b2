"""Curves: what happened in each step of the last minutes."""

import time

import pytest

from polyhost.emulator.telemetry.curves import STEP_S, Curves
from polyhost.emulator.telemetry.recorder import MetricValue, Place, PlaceKind, Recorder

PLACE = Place("eu-west-1", "one", "blue")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def curves(recorder: Recorder) -> Curves:
    return Curves(recorder)


def invoke(curves: Curves, at: float, latency_ms: float, place: Place = PLACE, model: str = "") -> None:
    """Let an invocation have ended at a time."""
    for name, value, unit in (("ModelLatency", 1000 * latency_ms, "Microseconds"), ("Invocations", 1, "None")):
        curves._on_metric(MetricValue(name, value, unit, place, model, "first", at))


def test_steps_have_requests_and_percentiles(curves: Curves) -> None:
    now = int(time.time() / STEP_S) * STEP_S - 60
    for latency in range(1, 101):
        invoke(curves, now + 1, latency)
    invoke(curves, now + 3 * STEP_S, 7.5)
    found = curves.describe("eu-west-1", "one")
    assert found["curves"] == [
        {
            "variant": "blue",
            "config": "first",
            "model": "",
            "points": [(now, 100, pytest.approx(50, rel=0.02), pytest.approx(99, rel=0.02)), (now + 15, 1, 7.5, 7.5)],
        }
    ]
    assert found["step_s"] == STEP_S and found["since"] < now < found["now"]


def test_models_have_curves_beside_their_variant(curves: Curves) -> None:
    now = time.time()
    for model in ("a", "b", "a"):
        invoke(curves, now, 1.0, model=model)
    found = curves.describe("eu-west-1", "one")["curves"]
    assert {item["model"]: item["points"][0].requests for item in found} == {"": 3, "a": 2, "b": 1}
    assert curves.describe("eu-west-1", "other")["curves"] == curves.describe("us-east-1", "one")["curves"] == []


def test_what_is_old_goes(curves: Curves) -> None:
    invoke(curves, time.time() - 3600, 1.0)
    assert curves.describe("eu-west-1", "one")["curves"] == []


def test_jobs_and_single_containers_have_none(curves: Curves) -> None:
    invoke(curves, time.time(), 1.0, Place("eu-west-1", "one", kind=PlaceKind.TRANSFORM_JOB))
    invoke(curves, time.time(), 1.0, Place("eu-west-1", "one", "blue", container="second"))
    assert curves.describe("eu-west-1", "one")["curves"] == []


def test_curves_go_with_their_endpoint(recorder: Recorder, curves: Curves) -> None:
    recorder.measure("Invocations", 1, "None", PLACE, "a", "first")
    recorder.measure("Invocations", 1, "None", Place("eu-west-1", "two", "blue"), "", "first")
    recorder.remove(Place("eu-west-1", "one", "blue", "i-1"))
    assert len(curves.describe("eu-west-1", "one")["curves"]) == 2
    recorder.remove(Place("eu-west-1", "one"))
    assert curves.describe("eu-west-1", "one")["curves"] == []
    assert len(curves.describe("eu-west-1", "two")["curves"]) == 1
