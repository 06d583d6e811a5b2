"""Forms: the bodies of `curl -d` and `curl -F`, application/x-www-form-urlencoded and multipart/form-data.

Multi Model Server reads a form itself and passes on its fields, without the body. So a form is its fields here, with
either front end: a handler gets them by name, a script gets a body that is encoded again from them. What
MMS drops is dropped here too: a file's name, the parameters of its type, what comes after a line's end, and the last
name of a urlencoded form if no "=" follows it, which is all there is of JSON sent as a form.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, unquote_to_bytes

from polyhost.handlers.body.media_types import MULTIPART, URLENCODED, MediaType
from polyhost.handlers.errors import BadBodyError, UnsuitableMediaTypeError

CURL_HINT = "curl sends it for -d unless told otherwise: add -H 'Content-Type: application/json'"
_NAME = re.compile(rb';\s*name=(?:"([^"]*)"|([^;]+))', re.IGNORECASE)
_FILE = re.compile(rb";\s*filename\*?=", re.IGNORECASE)
_LINE_END = re.compile(rb"[\r\n]")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_NOT_HEXADECIMAL = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_DEFAULT_TYPE = "application/octet-stream"  # RFC 2046, 4.5.1; Netty's as well
_ENCODINGS = (b"", b"7bit", b"8bit", b"binary")  # in which bytes are themselves


@dataclass(frozen=True)
class Field:
    """One field of a form; `content_type` is a file's, and empty for plain text."""

    name: str
    value: bytes | bytearray
    content_type: str = ""


class BadFormError(BadBodyError):
    """A body is not the form that its Content-Type says."""


class FormItem(dict[str, Any]):
    """A request's fields by name, the last one of each name, as Multi Model Server gives them to a handler.

    `fields` are all of them in order; `error` says why they could not be read.
    """

    def __init__(self, fields: Sequence[Field], error: BadFormError | None = None) -> None:
        super().__init__((field.name, bytearray(field.value)) for field in fields)
        self.fields = fields
        self.error = error


def is_form(content_type: str) -> bool:
    """Return whether Multi Model Server reads bodies of this type as forms."""
    if "form" not in content_type.lower():  # nearly all requests
        return False
    media_type = MediaType.parse(content_type)
    return media_type.name == URLENCODED or (media_type.name == MULTIPART and "boundary" in media_type.parameters)


def item(parameters: Mapping[str, Any], fields: Sequence[Field] | None, content_type: str) -> dict[str, Any]:
    """Return what a handler is given for a request: its parameters, with the fields of a form in place of the body.

    `fields` are all parameters where Multi Model Server has read the form; None where "body" has it.
    """
    if not is_form(content_type):
        return dict(parameters)
    if fields is not None:
        return FormItem(fields)
    query = [Field(name, value) for name, value in parameters.items() if name != "body"]
    try:
        return FormItem([*query, *parse(parameters.get("body", b""), content_type)])
    except BadFormError as error:
        return FormItem(query, error)


def check_readable(items: Iterable[Any]) -> None:
    """Raise BadFormError for an item that a form could not be read to."""
    for each in items:
        if type(each) is FormItem and each.error is not None:
            raise each.error


def body_of(form: FormItem, content_type: str, content_length: str | None) -> bytes:
    """Return the body of the form again. Raises BadBodyError, and UnsuitableMediaTypeError if it was no form."""
    if form.error is not None:
        raise form.error
    is_empty = not form.fields and content_length != "0"
    if MediaType.parse(content_type).name == URLENCODED:
        if is_empty or (form.fields and form.fields[0].name.lstrip().startswith(("{", "["))):
            raise UnsuitableMediaTypeError(f"the body is no form, as Content-Type {content_type!r} says; {CURL_HINT}")
    elif is_empty:
        raise BadFormError(f"the body has no field of a form of the Content-Type {content_type!r}, or is cut off")
    return encode(form.fields, content_type)


def parse(body: bytes | bytearray, content_type: str) -> list[Field]:
    """Return the fields of a form, in order. Raises BadBodyError."""
    media_type = MediaType.parse(content_type)
    if media_type.name == URLENCODED:
        return list(map(_pair, _urlencoded(bytes(body))))
    boundary = media_type.parameters.get("boundary")
    if not boundary:
        raise BadBodyError(f"the Content-Type {content_type!r} names no boundary; let the HTTP client write it")
    return [_part(index, part) for index, part in enumerate(_parts(bytes(body), boundary))]


def encode(fields: Iterable[Field], content_type: str) -> bytes:
    """Return the body of a form with these fields. A file has its field's name for a file name."""
    media_type = MediaType.parse(content_type)
    if media_type.name == URLENCODED:
        return "&".join(f"{quote_plus(field.name)}={quote_plus(bytes(field.value))}" for field in fields).encode()
    delimiter = b"--" + media_type.parameters["boundary"].encode("latin-1", "replace")
    parts = [b"%b\r\n%b\r\n\r\n%b\r\n" % (delimiter, _encoded_head(field), bytes(field.value)) for field in fields]
    return b"".join([*parts, delimiter, b"--\r\n"])


def only_file(fields: Sequence[Field]) -> Field:
    """Return the file of a form that has one. Raises BadBodyError."""
    files = [field for field in fields if field.content_type]
    if len(files) == 1:
        return files[0]
    listed = ", ".join(repr(field.name) for field in fields) or "none"
    raise BadBodyError(
        f"the form must hold one file, as `curl -F 'file=@rows.csv;type=text/csv'` sends it; it holds {len(files)} "
        f"(fields: {listed})"
    )


# Urlencoded


def _urlencoded(body: bytes) -> list[bytes]:
    *parts, last = _LINE_END.split(body, 1)[0].split(b"&")
    return [part for part in (*parts, last if b"=" in last else b"") if part]


def _pair(part: bytes) -> Field:
    name, _, value = part.partition(b"=")
    if not name:
        raise BadFormError(f"the form has a value without a name: {value[:80]!r}")
    return Field(_decoded(name).decode(), _decoded(value))


def _decoded(text: bytes) -> bytes:
    """Decode %41 and +, and replace what is not UTF-8, as Netty does."""
    if _NOT_HEXADECIMAL.search(text):
        raise BadFormError(f"the form has a % that two hexadecimal digits do not follow: {text[:80]!r}")
    return unquote_to_bytes(text.replace(b"+", b" ")).decode(errors="replace").encode()


# Multipart


def _parts(body: bytes, boundary: str) -> list[bytes]:
    """Return the parts, without one that is cut off."""
    _, *parts = re.split(rb"\r?\n--" + re.escape(boundary.encode("latin-1", "replace")), b"\n" + body)
    end = next((index for index, part in enumerate(parts) if part.startswith(b"--")), len(parts) - 1)
    return parts[: max(end, 0)]


def _part(index: int, part: bytes) -> Field:
    head, *rest = _BLANK_LINE.split(part, 1)
    lines = (line.partition(b":") for line in head.splitlines()[1:])
    headers = {name.strip().lower(): text.strip() for name, _, text in lines}
    disposition = headers.get(b"content-disposition", b"")
    found = _NAME.search(disposition)
    if not rest or found is None:
        raise BadFormError(f"part {index} of the form has no name: its Content-Disposition is missing or damaged")
    if (encoding := headers.get(b"content-transfer-encoding", b"").lower()) not in _ENCODINGS:
        raise BadFormError(f"part {index} of the form is encoded as {encoding.decode(errors='replace')}; send bytes")
    name = (found[1] if found[1] is not None else found[2].strip()).decode(errors="replace")
    if not _FILE.search(disposition):
        return Field(name, rest[0])
    content_type = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip()
    return Field(name, rest[0], content_type or _DEFAULT_TYPE)


def _encoded_head(field: Field) -> bytes:
    name = field.name.encode()
    head = b'Content-Disposition: form-data; name="%b"' % name
    if not field.content_type:
        return head
    return b'%b; filename="%b"\r\nContent-Type: %b' % (head, name, field.content_type.encode("latin-1", "replace"))
