"""Answers of models and scripts as JSON: values and keys of other types, or a sentence that says what to return."""

import base64
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import json
import pathlib
import types
import uuid
from typing import Any

import numpy
import pytest

from polyhost.handlers.body.encoders import encode
from polyhost.handlers.body.json_values import dumps
from polyhost.handlers.body.media_types import CSV, JSON_LINES
from polyhost.handlers.errors import WrongAnswerError


class Colour(enum.Enum):
    RED = "red"


class Named(str, enum.Enum):  # noqa: UP042 - str() of a member is not its value, unlike with StrEnum
    BLUE = "blue"


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Box:
    label: Any
    corner: Any


Point = collections.namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (decimal.Decimal("1.10"), "1.1"),
        (decimal.Decimal("12345678901234567890"), "12345678901234567890"),
        (decimal.Decimal("NaN"), "null"),
        (decimal.Decimal("Infinity"), "null"),
        (decimal.Decimal("1e400"), "null"),
        (fractions.Fraction(1, 4), "0.25"),
        (b"spam", '"spam"'),
        (bytearray("größe".encode()), '"größe"'),
        (numpy.array([b"ham", b"spam"]), '["ham", "spam"]'),
        ({3, 1, 2}, "[1, 2, 3]"),
        (frozenset({"a"}), '["a"]'),
        (Colour.RED, '"red"'),
        ([Named.BLUE, Level.HIGH], '["blue", 3]'),
        (Box("cat", numpy.array([1, 2])), '{"label": "cat", "corner": [1, 2]}'),
        (Point(1, numpy.float32(0.5)), "[1, 0.5]"),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (pathlib.Path("/a/b"), '"/a/b"'),
        (datetime.datetime(2024, 2, 29, 1, 2), '"2024-02-29T01:02:00"'),
        (datetime.time(1, 2), '"01:02:00"'),
        (datetime.timedelta(minutes=1.5), "90.0"),
        (numpy.datetime64("2024-02-29"), '"2024-02-29"'),
        (numpy.datetime64("2024-02-29T01:02:03"), '"2024-02-29T01:02:03"'),
        (numpy.array(["2024-02-29", "NaT"], "M8[ns]"), '["2024-02-29T00:00:00", null]'),
        (numpy.array([1500, "NaT"], "m8[ms]"), "[1.5, null]"),
        (types.MappingProxyType({"a": numpy.int64(1)}), '{"a": 1}'),
        (
            [range(2), {"b": 1, "a": 1}.keys(), {1: 2}.values(), collections.deque([3]), (x for x in "ab")],
            '[[0, 1], ["b", "a"], [2], [3], ["a", "b"]]',
        ),
        (numpy.array([(1, 2.5)], [("a", "i4"), ("b", "f4")]), "[[1, 2.5]]"),
    ],
)
def test_values(value: Any, text: str) -> None:
    assert dumps(value) == text


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (numpy.int64(7), "7"),
        (numpy.bool_(True), "true"),
        (numpy.float32(0.5), "0.5"),
        (numpy.float64("nan"), "NaN"),
        (b"spam", "spam"),
        (numpy.str_("a"), "a"),
        (Colour.RED, "red"),
        (Level.HIGH, "3"),
        (datetime.date(2024, 2, 29), "2024-02-29"),
        (numpy.datetime64("2024-02-29T01:00"), "2024-02-29T01:00:00"),
        (uuid.UUID(int=2), "00000000-0000-0000-0000-000000000002"),
        (pathlib.PurePosixPath("a/b"), "a/b"),
        (decimal.Decimal("0.5"), "0.5"),
        (1, "1"),
        (None, "null"),
    ],
)
def test_keys(key: Any, name: str) -> None:
    assert json.loads(dumps({key: [{key: numpy.int64(1)}]})) == {name: [{name: 1}]}


def test_objects_of_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    times = pandas.to_datetime(["2024-02-29T01:02", None])
    table = pandas.DataFrame({"n": [1, 2], "t": times})
    values = [pandas.Timestamp("2024-02-29"), pandas.NaT, pandas.NA, pandas.Timedelta("90s"), pandas.Categorical(["a"])]
    assert dumps(values) == '["2024-02-29T00:00:00", null, null, 90.0, ["a"]]'
    assert dumps(table) == '[[1, "2024-02-29T01:02:00"], [2, null]]'
    assert dumps(pandas.Series(times)) == '["2024-02-29T01:02:00", null]'
    assert dumps(pandas.Series(["a"], dtype="category")) == '["a"]'
    assert dumps({pandas.Timestamp("2024-02-29"): 1, pandas.NaT: 2}) == '{"2024-02-29T00:00:00": 1, "null": 2}'


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        ({(1, 2): 3}, r"the key \(1, 2\), a tuple, which JSON cannot have; make it text: str\(key\)"),
        ([1 + 2j], r"a complex, which cannot be written; return its parts, such as \[value.real, value.imag\]"),
        (numpy.array([1j]), "a complex, which cannot be written"),
        ({"image": b"\xff\xd8"}, r"not text in UTF-8; return base64.b64encode\(value\).decode\(\)"),
        ({b"a": 1, "a": 2}, "two of a dictionary's keys are the same as text"),
        (
            {Colour.RED: 1, numpy.datetime64("2024-02-29"): 2, datetime.date(2024, 2, 29): 3},
            "two of a dictionary's keys are the same as text",
        ),
        ({"model": object()}, "a object, which cannot be written; return numbers or text"),
    ],
)
def test_what_json_cannot_have(value: Any, remedy: str) -> None:
    with pytest.raises(WrongAnswerError, match=remedy):
        dumps(value)


def test_numbers_of_more_digits_than_pythons() -> None:
    number = numpy.longdouble("1.5")
    assert dumps({"a": number, "b": [numpy.array([number, 2])]}) == '{"a": 1.5, "b": [[1.5, 2.0]]}'
    with pytest.raises(WrongAnswerError, match="holds a complex"):
        dumps(numpy.clongdouble(1j))


def test_a_value_that_holds_itself() -> None:
    value: list[Any] = [{1: numpy.nan}]
    value.append(value)
    with pytest.raises(WrongAnswerError, match="holds itself"):
        dumps(value)


def test_the_remedy_for_bytes_works() -> None:
    assert dumps({"image": base64.b64encode(b"\xff\xd8").decode()}) == '{"image": "/9g="}'


def test_lines_and_csv_hold_the_same_values() -> None:
    row = [Named.BLUE, b"spam", datetime.date(2024, 2, 29), decimal.Decimal("0.5"), numpy.datetime64("NaT", "s"), {1}]
    assert encode([row[:5]], CSV) == b"blue,spam,2024-02-29,0.5,\n"
    assert encode([row], JSON_LINES) == b'["blue", "spam", "2024-02-29", 0.5, null, [1]]\n'
