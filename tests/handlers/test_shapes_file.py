"""What a shapes file may hold, and what is said of one that cannot be used."""

from pathlib import Path

import pytest

from polyhost.handlers import shapes_file
from polyhost.handlers.body.payload import Rows
from polyhost.handlers.errors import BadModelError
from polyhost.handlers.shapes_file import InputShape
from polyhost.handlers.tensors import fill


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shapes.json"


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ('[{"shape": [1, 2], "name": "x"}]', [InputShape("x", (1, 2))]),
        ('{"shape": [1]}', [InputShape("data", (1,))]),
        ('[{"shape": [8]}]', [InputShape("data", (8,))]),
        ('{"shape": [1, 3], "dtype": "int64"}', [InputShape("data", (1, 3), "int64")]),
        ('\ufeff{"name": "x", "shape": [1, 3]}', [InputShape("x", (1, 3))]),
        (
            '[{"shape": [1], "name": "a"}, {"shape": [1, 2], "name": "b"}]',
            [InputShape("a", (1,)), InputShape("b", (1, 2))],
        ),
    ],
)
def test_accepted(path: Path, text: str, shapes: list[InputShape]) -> None:
    path.write_text(text)
    assert shapes_file.read(path) == shapes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"shape": []}', '{"shape": []}: "shape" must be a list of whole numbers above 0, the batch first; expected'),
        ('{"shape": 3}', '"shape" must be a list'),
        ('[{"shape": [1, null]}]', '"shape" must be a list of whole numbers above 0'),
        ('[{"shape": [0, 3]}]', '"shape" must be a list of whole numbers above 0'),
        ('[{"shape": [1, 2.0]}]', '"shape" must be a list of whole numbers above 0'),
        ('[{"shape": [true]}]', '"shape" must be a list of whole numbers above 0'),
        ('[{"name": "x"}]', '"shape" must be a list'),
        ('[{"shape": [1], "name": 3}]', '"name" must be the name of the input'),
        ('[{"shape": [1], "name": null}]', '"name" must be the name of the input'),
        ('[{"shape": [1]}, {"shape": [1], "name": "b"}]', '"name" must be the name of the input'),
        ('[{"shape": [1], "dtype": "float"}]', '"dtype" must be one of float32'),
        ('[{"shape": [1], "dtype": [1]}]', '"dtype" must be one of float32'),
        ('[{"shape": [1], "name": "x"}, {"shape": [1], "name": "x"}]', "names two inputs alike: x, x"),
        ("[[1, 3]]", "the entry [1, 3]: it must be an object"),
        ("[]", "must hold a list with an entry for each input"),
        ("{}", "must hold a list with an entry for each input"),
        ("{", "is not JSON"),
    ],
)
def test_rejected_with_the_reason(path: Path, text: str, words: str) -> None:
    path.write_text(text)
    with pytest.raises(BadModelError) as raised:
        shapes_file.read(path)
    assert str(raised.value).startswith("shapes.json ")
    assert words in str(raised.value)
    assert '"shape": [1, 3, 224, 224], "name": "data"' in str(raised.value)


@pytest.mark.parametrize("values", [[3, 5], [[3], [5]]])
def test_samples_that_are_single_numbers(values: list[object]) -> None:
    arrays = fill(Rows(values), [InputShape("data", (1,), "int64")])
    assert arrays["data"].tolist() == [3, 5]
