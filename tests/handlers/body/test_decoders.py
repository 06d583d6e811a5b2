import io
import operator
import tracemalloc
from typing import Any

import numpy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polyhost.handlers.body.decoders import DECODERS, decode
from polyhost.handlers.body.payload import Rows
from polyhost.handlers.errors import BadBodyError, HandlerError, UnsupportedMediaTypeError
from tests.handlers.served import npy, picture


def npy_header(text: str) -> bytes:
    """Return a body that begins with this text for a header, and has eight bytes after it."""
    return b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text.encode() + b"12345678"


def npy_claim(descr: str, shape: str) -> bytes:
    return npy_header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n")


@pytest.mark.parametrize(
    ("content_type", "body", "rows"),
    [
        ("", "[[1]]", Rows([[1]])),
        ("application/json", "\ufeff[[1, null]]", Rows([[1, None]])),
        ("application/json", '{"instances": [[1], [2]], "other": 3}', Rows([[1], [2]])),
        ("application/json", '{"instances": [{"a": 1}]}', Rows([[1]], ("a",))),
        ("application/json", '{"a": 1, "b": "x"}', Rows([[1, "x"]], ("a", "b"), single=True)),
        ("application/json", '[{"a": 1, "b": 2}, {"b": 4, "a": 3}]', Rows([[1, 2], [3, 4]], ("a", "b"))),
        ("text/csv", "1,2\n3,4\n", Rows([[1, 2], [3, 4]])),
        ("text/csv", "1,red\r\n\r\n2,blue", Rows([[1, "red"], [2, "blue"]])),
        ("text/csv", "a, b\n1,2\n", Rows([[1, 2]], ("a", "b"))),
        ("text/csv", "red,blue\n", Rows([["red", "blue"]])),
        ("text/csv", "red,blue\ngreen,grey\n", Rows([["red", "blue"], ["green", "grey"]])),
        ("text/csv", ",a,b\n0,1,2\n", Rows([[0, 1, 2]], ("", "a", "b"))),
        ("text/csv", "red,red\nblue,3\n", Rows([["red", "red"], ["blue", "3"]])),
        ("text/csv", "1_000,1\n2,3\n", Rows([["1_000", 1], ["2", 3]])),
        ("text/csv", "a" * 200_000 + ",1\n", Rows([["a" * 200_000, 1]])),
        ("text/csv; header=present", "red,blue\ngreen,grey\n", Rows([["green", "grey"]], ("red", "blue"))),
        ("text/csv; header=absent", "a,b\n1,2\n", Rows([["a", "b"], ["1", "2"]])),
        ("text/csv", '"a, ""b""",1\n', Rows([['a, "b"', 1]])),
        ("text/csv; charset=latin-1", "é\n".encode("latin-1"), Rows([["é"]])),
        ("application/jsonlines", "[1, 2]\n\n[3, 4]\n", Rows([[1, 2], [3, 4]])),
        ("application/jsonlines", '["a\u2028b\u0085"]\r\n["c"]\r\n', Rows([["a\u2028b\u0085"], ["c"]])),
        ("application/jsonlines", '{"a": 1}\n{"a": 2}', Rows([[1], [2]], ("a",))),
    ],
)
def test_text_bodies(content_type: str, body: str | bytes, rows: Rows) -> None:
    assert decode(body.encode() if isinstance(body, str) else body, content_type) == rows


@pytest.mark.parametrize(
    ("body", "missing"),
    [
        (b"1,\n,2\n", [[False, True], [True, False]]),
        (b",\n1,2\n", [[True, True], [False, False]]),
        (b'""\n1\n', [[True], [False]]),
        (b"red,\nblue,3\n", [[False, True], [False, False]]),
    ],
)
def test_empty_cell_is_nan(body: bytes, missing: list[list[bool]]) -> None:
    rows = decode(body, "text/csv")
    assert isinstance(rows, Rows)
    assert [[cell != cell for cell in row] for row in rows.values] == missing


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("application/json", b"", "empty; expected application/json"),
        ("text/csv", b"\n\n", "holds no row"),
        ("text/csv; header=present", b"a,b\n", "a header and no row"),
        ("text/csv", b"1,2\n3\n", "line 2 has 1 values, line 1 has 2"),
        ("text/csv", b'1,"2\n', "line 1 is not CSV"),
        ("text/csv", b"1,\xff", "not utf-8: invalid start byte at byte 2"),
        ("text/csv; charset=klingon", b"1", "charset 'klingon'"),
        ("text/csv; charset=undefined", b"1", "undefined encoding"),
        ("text/csv; charset=punycode", b"\xff-1", "not punycode"),
        ("application/json", b"[[1], [2,\n3,]]", "line 2, column"),
        ("application/json", b"[" * 100_000, "nested too deeply"),
        ("application/json", b"1" * 5000, "not usable JSON"),
        ("application/json", b"3", "given a single value"),
        ("application/json", b"null", "given null"),
        ("application/json", b"[]", "given an empty list"),
        ("application/json", b"{}", "given an empty object"),
        (
            "application/json",
            b'[{"a": 1}, {"b": 1}]',
            "row 1 does not have the names of row 0: expected ['a'], given ['b']",
        ),
        ("application/json", b'[{"a": 1}, [1]]', "given a list"),
        ("application/jsonlines", b"[1]\n[2", "line 2 is not JSON"),
        ("application/x-npy", b"PK\x03\x04" * 9, "not NPY"),
        ("application/x-npy", npy([[1.0]])[:-1], "8 bytes; it holds 7"),
        ("application/x-npy", npy([[1.0]]) + b"1", "8 bytes; it holds 9"),
        ("application/x-npy", npy(numpy.zeros((0, 3))), "holds 0"),
        ("application/x-npy", npy(numpy.float64(3)), "holds 8"),
        ("application/x-npy", npy([None, {}]), "pickled; only plain values"),
        ("application/x-npy", b"\x93NUMPY\x03\x00" + npy([1])[8:], "version (3, 0)"),
        ("application/x-npy", npy_header("-" * 9000 + "1"), "Header info length (9001) is large"),
        ("application/x-npy", npy_header("-" * 1000 + "1"), "header cannot be read"),
        ("application/x-npy", npy_header("+" * 1000 + "1"), "header cannot be read"),
        ("application/x-npy", npy_header("((("), "header cannot be read"),
        ("application/x-npy", npy_claim("()", "(1,)"), "header cannot be read"),
        ("application/x-npy", npy_claim("'<f8'", "(-1, -2)"), "float64[-1, -2], which is not an array"),
        ("application/x-npy", npy_claim("'<f8'", f"({'1, ' * 40})"), "1, 1], which is not an array"),
        ("application/x-npy", npy_claim("('<f8', (2, 2))", "(1,)"), "[1], which is not an array"),
        ("application/x-npy", npy_claim("'<U2'", "(1,)"), "code above U+10FFFF"),
        ("application/x-npy", npy_claim("'>U1'", "(2,)"), "code above U+10FFFF"),
        ("application/x-npy", npy_claim("[('a', '<i4'), ('b', '<U1')]", "(1,)"), "code above U+10FFFF"),
    ],
)
def test_unreadable_bodies(content_type: str, body: bytes, text: str) -> None:
    with pytest.raises(BadBodyError) as raised:
        decode(body, content_type)
    assert text in str(raised.value)
    assert (raised.value.status, raised.value.phase) == (400, "decode")


def test_unknown_type_names_the_known_ones() -> None:
    with pytest.raises(UnsupportedMediaTypeError) as raised:
        decode(b"x", "application/xml")
    assert raised.value.status == 415
    assert "'application/xml'" in str(raised.value) and all(name in str(raised.value) for name in DECODERS)


def test_claimed_size_is_not_allocated() -> None:
    """A header of a hundred bytes may promise terabytes."""
    stream = io.BytesIO()
    write_header: Any = numpy.lib.format.write_array_header_1_0
    write_header(stream, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)})
    tracemalloc.start()
    with pytest.raises(BadBodyError, match="it holds 0"):
        decode(stream.getvalue(), "application/x-npy")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


# What a reader takes for its own, so that it reads on.
BEGINNINGS = (b"", b"\x93NUMPY\x01\x00", npy([[1.5]])[:40], b"\x89PNG\r\n\x1a\n", picture([[1, 2]])[:30], b"\xff\xd8")
CLAIMS = st.builds(
    npy_claim,
    st.sampled_from(["'<f8'", "'|S8'", "'<U0'", "'O'", "'M8[s]'", "('<i2', (2,))", "[('a', '<f8')]", "[]", "3"]),
    st.lists(st.sampled_from([-1, 0, 1, 2, 8, 1 << 40, 1 << 70]), max_size=40).map(lambda sizes: repr(tuple(sizes))),
)


@given(
    st.sampled_from(sorted(DECODERS)),
    st.builds(operator.add, st.sampled_from(BEGINNINGS), st.binary(min_size=1, max_size=200))
    | st.text("()[]{}-+'1 ,:x\n", max_size=300).map(npy_header)
    | CLAIMS,
)
@example("application/x-npy", npy_header("-" * 9000 + "1"))
@example("application/x-npy", npy_header("((("))
@example("application/x-npy", npy_claim("'<f8'", "(-1, -1)"))
def test_no_body_causes_more_than_a_400(content_type: str, body: bytes) -> None:
    try:
        decode(body, content_type)
    except HandlerError as error:
        assert error.status == 400


@pytest.mark.parametrize("array", [[[1, 2], [3, 4]], [[1.5, 2]], [["a", "bc"]], [[True]]])
def test_arrays_are_decoded_unchanged(array: Any) -> None:
    for form in (numpy.ascontiguousarray(array), numpy.asfortranarray(array)):
        rows = decode(npy(form), "application/x-npy")
        assert isinstance(rows, Rows)
        assert rows.values.tolist() == array
