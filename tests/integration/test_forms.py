"""Forms, which Multi Model Server reads itself: what a script and a user's own handler get is the same on both."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support import mms_jar
from tests.support.container import ContainerProcess

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=xyz"


def part(disposition: str, content: str, *headers: str) -> str:
    lines = [f"--xyz\r\nContent-Disposition: form-data; {disposition}", *headers]
    return "\r\n".join([*lines, "", content, ""])


FIELD, OTHER = part('name="k"', "v=&"), part('name="k"', "w")
CSV = part('name="file"; filename="rows.csv"', "1,2\n", "Content-Type: text/csv")
END = "--xyz--\r\n"

# What is sent, the fields, and the body that is made of them.
FORMS: list[tuple[str, str, dict[str, str], str]] = [
    (URLENCODED, "a=1&b=2&a=3", {"a": "3", "b": "2"}, "a=1&b=2&a=3"),
    (URLENCODED, "a=x+y&b=%C3%A9%26&c=", {"a": "x y", "b": "é&", "c": ""}, "a=x+y&b=%C3%A9%26&c="),
    (URLENCODED, "a=1&b&c=é\r\nd=2", {"a": "1", "b": "", "c": "é"}, "a=1&b=&c=%C3%A9"),
    (f"{URLENCODED}; charset=utf-8", "a=1&b", {"a": "1"}, "a=1"),
    (MULTIPART, FIELD + OTHER + END, {"k": "w"}, FIELD + OTHER + END),
    (
        MULTIPART,
        FIELD + CSV + END,
        {"k": "v=&", "file": "1,2\n"},
        FIELD + CSV.replace('filename="rows.csv"', 'filename="file"') + END,
    ),
    (MULTIPART, FIELD + OTHER, {"k": "v=&"}, FIELD + END),
    (
        MULTIPART,
        part('name="body"; filename="x"', "[1]", "Content-Type: application/json") + END,
        {"body": "[1]"},
        part('name="body"; filename="body"', "[1]", "Content-Type: application/json") + END,
    ),
]


@pytest.fixture
def models(container: ContainerProcess, new_model: Callable[[str], str]) -> tuple[str, str]:
    """Load a user's own handler that shows its fields, and a script that shows its body."""
    return container.loaded(new_model("shows_a_form")), container.loaded(new_model("shows_the_body"))


def test_forms(container: ContainerProcess, models: tuple[str, str]) -> None:
    handler, script = models
    for content_type, body, fields, again in FORMS:
        shown: Any = container.invoke(handler, body.encode(), content_type).json()
        assert shown == fields, body
        given = container.invoke(script, body.encode(), content_type).json()
        assert given == {"body": again, "type": content_type.partition(";")[0]}, body


@pytest.mark.parametrize(
    ("body", "fields", "error"),
    [
        ("a=1&&b=2", {"a": "1", "b": "2"}, "IllegalArgumentException: empty name"),
        ("&a=1", {"a": "1"}, "IllegalArgumentException: empty name"),
        ("&".join(f"k{n}={n}" for n in range(128)), {f"k{n}": str(n) for n in range(128)}, None),
        (
            "&".join(f"k{n}={n}" for n in range(129)),
            {f"k{n}": str(n) for n in range(129)},
            "TooManyFormFieldsException",
        ),
        (f"a=1&{'k' * 1025}=1", {"a": "1", "k" * 1025: "1"}, None),
        (f"a=1&{'k' * 1025}", {"a": "1"}, "TooLongFormFieldException"),
        (f"[{'1, ' * 400}1]", {}, "TooLongFormFieldException"),
    ],
    ids=["empty pair", "empty pair at the start", "128 fields", "129 fields", "long name", "long rest", "JSON"],
)
def test_forms_that_the_patched_jar_does_not_take(
    container: ContainerProcess, models: tuple[str, str], body: str, fields: dict[str, str], error: str | None
) -> None:
    """docs/conformance.md has these; the native front end and the jar as released take them all."""
    response = container.invoke(models[0], body.encode(), URLENCODED)
    if error and not container.native and mms_jar.is_patched():
        assert (response.status_code, error in response.text) == (500, True), response.text
    else:
        assert (response.status_code, response.json()) == (200, fields)


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        (URLENCODED, '{"a": [1, 2.5]}', 415),
        (URLENCODED, '{"a": "b=c&d"}', 415),
        (URLENCODED, "[[1, 2]]", 415),
        (MULTIPART, "no form", 400),
    ],
)
def test_what_is_no_form(
    container: ContainerProcess, models: tuple[str, str], content_type: str, body: str, status: int
) -> None:
    """`curl -d '{"a": 1}'`, of which nothing reaches a model behind MMS."""
    handler, script = models
    refused = container.invoke(script, body.encode(), content_type)
    assert refused.status_code == status
    assert ("add -H 'Content-Type: application/json'" in refused.json()["message"]) == (status == 415)
    assert container.invoke(handler, body.encode(), content_type).status_code == 200


def test_bodies_of_other_types_are_whole(container: ContainerProcess, models: tuple[str, str]) -> None:
    handler, script = models
    for content_type in ("application/json", "text/plain", "multipart/mixed; boundary=xyz", "multipart/form-data"):
        body = FIELD + END if "multipart" in content_type else '{"a": 1}'
        assert container.invoke(handler, body.encode(), content_type).json() == {"body": body}
        assert container.invoke(script, body.encode(), content_type).json()["body"] == body
