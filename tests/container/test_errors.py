"""The failure that a caller sees: status, type, message, phase."""

import enum
import json
from typing import Any

import pytest

from polyhost.container.errors import BadAnswerError, Failure, WorkerDiedError, status_of
from polyhost.handlers.errors import HandlerNotFoundError


class Teapot(Exception):
    status = 418


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


def with_attributes(**attributes: Any) -> Exception:
    error = Exception("it failed")
    vars(error).update(attributes)
    return error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("x"), 500),
        (Teapot(), 418),
        (with_attributes(status_code=415), 415),
        (with_attributes(error_code=404), 404),
        (with_attributes(status="404"), 500),
        (with_attributes(status=200), 500),
        (with_attributes(status=700, status_code=400), 400),
        (with_attributes(error_code="AccessDenied"), 500),
        (MemoryError(), 507),
        (HandlerNotFoundError("x"), 400),
        (WorkerDiedError("x", 504), 504),
    ],
    ids=repr,
)
def test_the_status_of_an_error(error: Exception, status: int) -> None:
    assert status_of(error) == status


def test_a_failure_has_code_type_message_model_and_phase() -> None:
    failure = json.loads(Failure.of(BadAnswerError("not a list"), "digits", "predict").to_json())

    assert failure == {
        "code": 500, "type": "BadAnswerError", "message": "not a list", "model": "digits", "phase": "predict"
    }  # fmt: skip


def test_phase_and_type_of_the_error_win() -> None:
    failure = Failure.of(with_attributes(phase="decode", type="BadRequest"), "m", "predict")

    assert (failure.phase, failure.type) == ("decode", "BadRequest")


def test_an_error_without_text_is_named_by_its_type() -> None:
    assert Failure.of(KeyError(), "m", "load").message == "KeyError"


@pytest.mark.parametrize("attribute", ["type", "phase"])
@pytest.mark.parametrize("value", [enum.Enum("Kind", "BAD").BAD, 7, ValueError, None], ids=repr)  # type: ignore[attr-defined]
def test_attributes_that_are_not_text_are_ignored(attribute: str, value: object) -> None:
    failure = Failure.of(with_attributes(**{attribute: value}), "m", "predict")

    assert json.loads(failure.to_json())[attribute] == {"type": "Exception", "phase": "predict"}[attribute]


@pytest.mark.parametrize("text", ["größer als 10 €", "no file 'caf\udce9.csv'"])
def test_any_text_survives_json(text: str) -> None:
    assert json.loads(Failure.of(ValueError(text), "m", "load").to_json())["message"] == text


def test_an_error_that_cannot_be_printed_is_named_by_its_type() -> None:
    assert Failure.of(Unprintable(), "m", "load").message == "Unprintable"
