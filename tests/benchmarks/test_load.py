"""The load measurements of the emulator's ways to host a model, shortened: every answer is there, and right."""

import re

import pytest

from benchmarks import async_inference, attacks, batch_transform, serverless
from benchmarks.models import Shelf
from benchmarks.servers import ROOT, native, running

pytestmark = pytest.mark.timeout(900)


def test_every_asynchronous_invocation_is_answered() -> None:
    with async_inference.running_account() as account:
        report = async_inference.measure(account, 100)  # compares the answers with those of scikit-learn
    assert report[-1].startswith("asynchronous, answered: ")


def test_a_transform_job_and_a_loop_predict_the_same() -> None:
    figures = batch_transform.measure(lines=20_000, loop_lines=50, concurrency=2, payload_mb=1)
    assert (figures.loop_lines, figures.job_lines) == (50, 20_000)


def test_a_burst_from_zero_is_answered_or_throttled() -> None:
    shelf = Shelf(ROOT / "build" / "bench-models")
    shelf.fill(iter([serverless.KIND]))
    report = serverless.burst(shelf, serverless.SETUPS[0], 10)
    throttled, answered = (int(count) for count in re.findall(r"(\d+) (?:ThrottlingException|answered)", report))
    assert throttled + answered == serverless.BURST, report
    assert answered >= 10, report


def test_a_model_answers_beside_each_attack() -> None:
    shelf = Shelf(ROOT / "build" / "bench-models")
    shelf.fill(iter([attacks.KIND]))
    with running(native()) as server:
        report = attacks.measure(server, shelf, 1.0, 1, attacks.ATTACKS)  # fails where a request does
    assert list(report) == list(attacks.ATTACKS)
