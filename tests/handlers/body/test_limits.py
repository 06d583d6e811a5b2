from typing import Any

import pytest

from polyhost.handlers.body import limits
from polyhost.handlers.body.decoders import decode
from polyhost.handlers.body.payload import Expected
from polyhost.handlers.errors import TooManyValuesError


@pytest.fixture(autouse=True)
def low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_VALUES", 20)


SPARSE = '{"features": {"keys": [0], "shape": [7], "values": [1]}}'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", f"[[{'1, ' * 18}1]]"),
        ("application/json", f"[{'[], ' * 8}[]]"),
        ("application/json", f'{{"instances": [{"[1],  " * 8}[1]]}}'),
        ("application/json", '[["' + "a,b[c{d" * 10 + '"]]'),
        ("application/json", r'[["\\", "\"' + "," * 100 + r'\\", 1]]'),
        ("application/jsonlines", "[1]\n" * 10),
        ("text/csv", "1,2\n" * 10),
        ("text/csv", ("1," * 19) + "1"),
        ("text/csv", '"a,b",2\n' * 10),
        ("text/csv", "1\n" + "\r\n" * 9),
    ],
)
def test_as_many_values_as_the_limit(content_type: str, body: str) -> None:
    decode(body.encode(), content_type)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", f"[[{'1, ' * 20}1]]"),
        ("application/json", f"[{'[],' * 20}[]]"),
        ("application/json", f"[{'[1],' * 12}[1]]"),
        ("application/json", '[["' + "a,b" * 10 + f'"{", 1" * 25}]]'),
        ("application/json", r'[["\\"' + ", 1" * 25 + r', "\""]]'),
        ("application/json", f'["unfinished \\" text", {"1, " * 25}"'),
        ("application/json", f"{{{', '.join(f'{chr(34)}{n}{chr(34)}: 1' for n in range(25))}}}"),
        ("application/json", f"[{SPARSE}, {SPARSE}, {SPARSE}]"),
        ("application/jsonlines", "[1]\n" * 11),
        ("application/jsonlines", f"{SPARSE}\n" * 3),
        ("text/csv", "1,2\n" * 11),
        ("text/csv", "1\r" * 21),
        ("text/csv", "1," * 20 + "1"),
        ("text/csv", "," * 30),
        ("text/csv", '"a",2\n' * 11),
        ("text/csv", 'a"' + "," * 30),
    ],
)
def test_more_values_than_the_limit(content_type: str, body: str) -> None:
    with pytest.raises(TooManyValuesError, match=r"more than 20 values.*application/x-npy") as raised:
        decode(body.encode(), content_type)
    assert raised.value.status == 413


@pytest.mark.parametrize(("body", "fits"), [("a, b, c\n" * 10, True), ("a\n" * 21, False)])
def test_a_line_of_a_model_of_text_is_one_value(body: str, fits: bool) -> None:
    expected: Any = Expected(text=True, table=True)
    if fits:
        decoded: Any = decode(body.encode(), "text/csv", expected)
        assert len(decoded.values) == 10
    else:
        with pytest.raises(TooManyValuesError):
            decode(body.encode(), "text/csv", expected)
