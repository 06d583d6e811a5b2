import pytest

from polyhost.handlers.body.media_types import ARRAYS, CSV, JSON, JSON_LINES, NPY, MediaType, choose, preferred
from polyhost.handlers.errors import NotAcceptableError


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("text/*", CSV),
        ("text/csv", CSV),
        ("TEXT/CSV; charset=utf-8", CSV),
        ("application/x-jsonlines", JSON_LINES),
        ("text/html, application/x-npy;q=0.3, text/csv;q=0.9", CSV),
        ("text/csv;q=0.5, */*;q=0.8", JSON),
        ("application/json;q=0, */*", CSV),
        ("application/*;q=0.2, application/x-npy", NPY),
        ("image/png, */*;q=0.1", JSON),
    ],
)
def test_best_media_type_is_chosen(accept: str, chosen: str) -> None:
    assert choose(accept, ARRAYS, JSON) == chosen


@pytest.mark.parametrize(("accept", "chosen"), [("", CSV), ("*/*", CSV), ("text/*, application/json;q=0.9", CSV)])
def test_default_wins_among_equals(accept: str, chosen: str) -> None:
    assert choose(accept, ARRAYS, CSV) == chosen


@pytest.mark.parametrize("accept", ["image/png", "application/json;q=0", "nonsense", "*/*;q=0", "text/csv;q=much"])
def test_unacceptable_media_types(accept: str) -> None:
    with pytest.raises(NotAcceptableError, match="responds in application/json, text/csv") as raised:
        choose(accept, ARRAYS, JSON)
    assert (raised.value.status, accept in str(raised.value)) == (406, True)


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("text/*;level=1", JSON),
        ("text/html", "text/html"),
        ("a/b;q=0.1, image/jpg", "image/jpg"),
        ("a/b;q=0", JSON),
        ("application/json; charset=utf-8", "application/json; charset=utf-8"),
        ("text/csv;header=present", "text/csv;header=present"),
        ("text/csv;q=0.9;header=present, a/b; Q=0.5", "text/csv;header=present"),
        ("Text/CSV ; q=0.9", "Text/CSV"),
        ('a/b;rule="*";q=1', 'a/b;rule="*"'),
    ],
)
def test_script_gets_the_clients_first_choice(accept: str, name: str) -> None:
    assert preferred(accept, JSON) == name


def test_parameters_of_a_media_type() -> None:
    parsed = MediaType.parse(' Text/CSV ; Charset="latin-1";header=present')
    assert (parsed.name, parsed.parameters) == (CSV, {"charset": "latin-1", "header": "present"})
