import contextlib
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhost.handlers.body import forms
from polyhost.handlers.body.decoders import decode
from polyhost.handlers.body.forms import Field, FormItem
from polyhost.handlers.body.payload import Expected, Picture, Rows
from polyhost.handlers.errors import BadBodyError, UnsuitableMediaTypeError, UnsupportedMediaTypeError
from tests.handlers.served import picture

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=xyz"


def multipart(*parts: tuple[str, bytes]) -> bytes:
    """Return a body of parts, each with the rest of its Content-Disposition, and further lines of its head."""
    start = b"--xyz\r\nContent-Disposition: form-data; "
    return b"".join([*(b"%b%b\r\n\r\n%b\r\n" % (start, head.encode(), value) for head, value in parts), b"--xyz--\r\n"])


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (URLENCODED, True),
        (f"{URLENCODED}; charset=utf-8", True),
        ("Application/X-WWW-Form-URLencoded", True),
        (MULTIPART, True),
        ('Multipart/Form-Data; Boundary="xyz"', True),
        ("multipart/form-data", False),
        ("multipart/mixed; boundary=xyz", False),
        ("application/json", False),
        ("application/json; profile=form", False),
        ("", False),
    ],
)
def test_which_bodies_are_forms(content_type: str, expected: bool) -> None:
    assert forms.is_form(content_type) is expected


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"a=1&b=2&a=3&c=", [Field("a", b"1"), Field("b", b"2"), Field("a", b"3"), Field("c", b"")]),
        (b"a=%C3%A9+%26&b=x=y", [Field("a", "é &".encode()), Field("b", b"x=y")]),
        (b"a+b=%ff", [Field("a b", "\ufffd".encode())]),
        (b"&a=1&&b&", [Field("a", b"1"), Field("b", b"")]),
        (b"a=1&b", [Field("a", b"1")]),
        (b"a=1\r\nb=2", [Field("a", b"1")]),
        (b'{"a": 1}', []),
        (b"100%", []),
        (b"", []),
    ],
)
def test_urlencoded_fields_are_those_that_mms_passes_on(body: bytes, fields: list[Field]) -> None:
    assert forms.parse(body, URLENCODED) == fields


@pytest.mark.parametrize("body", [b"a=1&b=2&a=3", b"a=x+y&b=%C3%A9%26&c=", b"", b"b%3D=1%2B1"])
def test_urlencoded_bodies_are_written_again_as_they_were(body: bytes) -> None:
    assert forms.encode(forms.parse(body, URLENCODED), URLENCODED) == body


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.tuples(TEXT.filter(bool), TEXT), max_size=5))
def test_urlencoded_round_trip(pairs: list[tuple[str, str]]) -> None:
    fields = [Field(name, value.encode()) for name, value in pairs]
    body = forms.encode(fields, URLENCODED)
    assert forms.parse(body, URLENCODED) == fields
    assert parse_qsl(body.decode(), keep_blank_values=True) == pairs


@given(
    st.lists(
        st.builds(
            Field,
            st.text("abc_-é ", min_size=1, max_size=6).map(lambda name: f"x{name}x"),
            st.binary(max_size=30).filter(lambda value: b"--xyz" not in value and not value.endswith(b"\r")),
            st.sampled_from(["", "text/csv", "image/png"]),
        ),
        max_size=4,
    )
)
def test_multipart_round_trip(fields: list[Field]) -> None:
    assert forms.parse(forms.encode(fields, MULTIPART), MULTIPART) == fields


def test_multipart_fields() -> None:
    body = multipart(
        ('name="a"', b"1"),
        ('name="file"; filename="rows.csv"\r\nContent-Type: text/csv; header=present', b"1,2\r\n"),
        ("name=b; filename=x", b"\r\n--xy"),
        ('name="a"\r\nContent-Type: application/json', b"2"),
        ("filename=; name=a b", b""),
    )
    assert forms.parse(b"preamble\r\n" + body + b"epilogue\r\n--xyz", MULTIPART) == [
        Field("a", b"1"),
        Field("file", b"1,2\r\n", "text/csv"),
        Field("b", b"\r\n--xy", "application/octet-stream"),
        Field("a", b"2"),
        Field("a b", b"", "application/octet-stream"),
    ]
    lines = b'--xyz\nContent-Disposition: form-data; name="a"\n\nhello\n--xyz--\n'
    assert forms.parse(lines, MULTIPART) == [Field("a", b"hello")]


def test_a_part_that_is_cut_off_is_left_out() -> None:
    whole = multipart(("name=a", b"1"), ("name=b", b"2"))
    assert forms.parse(whole[: whole.index(b"2") + 1], MULTIPART) == [Field("a", b"1")]
    assert forms.parse(b"junk", MULTIPART) == forms.parse(b"--xyz--", MULTIPART) == []


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (b"--xyz\r\nContent-Type: text/plain\r\n\r\nhello\r\n--xyz--", MULTIPART, "part 0 of the form has no name"),
        (b"--xyz\r\nContent-Disposition: form-data; name=a\r\n--xyz--", MULTIPART, "part 0 of the form has no name"),
        (multipart(("name=a\r\nContent-Transfer-Encoding: base64", b"MQ==")), MULTIPART, "is encoded as base64"),
        (b"--xyz--", "multipart/form-data", "names no boundary"),
        (b"--xyz--", MULTIPART, "it holds 0 (fields: none)"),
        (multipart(('name="a"', b"1")), MULTIPART, "it holds 0 (fields: 'a')"),
        (multipart(("name=a; filename=a", b"1"), ("name=b; filename=b", b"2")), MULTIPART, "it holds 2"),
    ],
)
def test_unreadable_forms(body: bytes, content_type: str, text: str) -> None:
    with pytest.raises(BadBodyError) as raised:
        decode(body, content_type)
    assert text in str(raised.value)


def test_a_forms_file_is_decoded_by_its_own_type() -> None:
    head = 'name="file"; filename="x"\r\nContent-Type: '
    assert decode(multipart((head + "text/csv", b"1,2\n"), ("name=k", b"v")), MULTIPART) == Rows([[1, 2]])
    assert decode(multipart((head + "application/json", b"[[1, 2]]")), MULTIPART) == Rows([[1, 2]])
    assert isinstance(decode(multipart((head + "image/png", picture([[1, 2]]))), MULTIPART), Picture)
    text = Expected(text=True)
    assert decode(multipart((head + "text/plain", b"good\n")), MULTIPART, text) == Rows(["good"])
    with pytest.raises(
        UnsupportedMediaTypeError, match=r"the file 'file' of a form; curl -F 'file=@rows.csv;type=text"
    ):
        decode(multipart((head + "application/octet-stream", b"1,2\n")), MULTIPART)


def test_curls_default_type_is_refused_with_the_remedy() -> None:
    with pytest.raises(UnsupportedMediaTypeError, match=r"curl sends it for -d .* -H 'Content-Type: application/json'"):
        decode(b'{"a": 1}', URLENCODED)


def test_item_of_a_form() -> None:
    item = forms.item({"query": b"7", "a": b"0", "body": b"a=1&b=2&a=3"}, None, URLENCODED)
    assert isinstance(item, FormItem) and item == {"query": b"7", "a": b"3", "b": b"2"}
    assert forms.body_of(item, URLENCODED, "11") == b"query=7&a=0&a=1&b=2&a=3"
    sent = [Field("body", b"1,2", "text/csv")]
    item = forms.item({"body": b"1,2"}, sent, MULTIPART)
    assert isinstance(item, FormItem) and item == {"body": b"1,2"} and item.fields is sent


def test_item_of_other_bodies() -> None:
    for content_type in ("application/json", "", "multipart/form-data"):
        assert type(forms.item({"body": b"{}"}, None, content_type)) is dict
        assert forms.item({"body": b"{}"}, [Field("body", b"{}", content_type)], content_type) == {"body": b"{}"}


@pytest.mark.parametrize("body", [b'{"a": 1}', b"[[1, 2]]", b'{"a": "b=c"}', b' {"a":\n"b=c"}', b"plain text", b"&"])
def test_what_is_no_form_is_refused_with_the_remedy(body: bytes) -> None:
    """Most of it never arrives, behind MMS."""
    item = forms.item({"body": body}, None, URLENCODED)
    assert isinstance(item, FormItem)
    with pytest.raises(UnsuitableMediaTypeError, match="add -H 'Content-Type: application/json'") as raised:
        forms.body_of(item, URLENCODED, str(len(body)))
    assert raised.value.status == 415


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (b"a=%zz", URLENCODED, "two hexadecimal digits"),
        (b"a=%", URLENCODED, "two hexadecimal digits"),
        (b"=x", URLENCODED, "a value without a name"),
        (b"junk", MULTIPART, "is cut off"),
        (b"--xyz\r\nContent-Type: text/plain\r\n\r\nhello\r\n--xyz--", MULTIPART, "part 0 of the form has no name"),
    ],
)
def test_damaged_forms(body: bytes, content_type: str, text: str) -> None:
    item = forms.item({"body": body}, None, content_type)
    assert isinstance(item, FormItem) and item == {}
    with pytest.raises(BadBodyError, match=text):
        forms.body_of(item, content_type, str(len(body)))


def test_empty_forms() -> None:
    for content_type, body in ((URLENCODED, b""), (MULTIPART, b"--xyz--\r\n")):
        item = forms.item({"body": b""}, None, content_type)
        assert isinstance(item, FormItem)
        assert forms.body_of(item, content_type, "0") == body


@given(st.binary(max_size=60), st.sampled_from([URLENCODED, MULTIPART]))
def test_no_form_causes_more_than_a_415(body: bytes, content_type: str) -> None:
    for start in (b"", b"--xyz\r\nContent-Disposition: form-data; name=a\r\n"):
        item = forms.item({"body": start + body}, None, content_type)
        assert isinstance(item, FormItem)
        with contextlib.suppress(BadBodyError, UnsuitableMediaTypeError):
            forms.body_of(item, content_type, str(len(body)))
