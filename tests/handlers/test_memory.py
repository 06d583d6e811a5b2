"""What a small body may become: a long text beside short ones must not widen every cell."""

import json
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from polyhost.handlers.body.decoders import decode
from polyhost.handlers.errors import BadBodyError, TooManyValuesError
from tests.handlers.served import Served

Make = Callable[..., Served]
MB = 1_000_000
LIMIT = 60 * MB  # the bodies below took more than 300 MB
ROWS = [["x", 1]] * 500 + [["y" * 200_000, 2]]
NUMBERS_AND_TEXT: list[list[Any]] = [[1, 2]] * 500 + [[3, "y" * 200_000]]


def bodies(rows: list[list[Any]]) -> dict[str, bytes]:
    return {
        "application/json": json.dumps(rows).encode(),
        "application/jsonlines": "".join(f"{json.dumps(row)}\n" for row in rows).encode(),
        "text/csv": "".join(f"{first},{second}\n" for first, second in rows).encode(),
    }


CASES = [(kind, body) for rows in (ROWS, NUMBERS_AND_TEXT) for kind, body in bodies(rows).items()]


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Fail if what is inside allocates more than LIMIT at a time; NumPy reports its arrays to tracemalloc."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < LIMIT
    finally:
        tracemalloc.stop()


@pytest.fixture(params=["torch_script", "mxnet_net", "moons_forest", "named_pipeline"])
def model(request: pytest.FixtureRequest) -> Served:
    return Served(request.getfixturevalue(request.param))


@pytest.mark.parametrize(("kind", "body"), CASES, ids=[kind for kind, _ in CASES])
def test_a_long_text_among_many_values(model: Served, kind: str, body: bytes) -> None:
    with bounded_memory():
        response = model.post(body, kind)
    assert isinstance(response.error, BadBodyError)
    assert len(str(response.error)) < 1000 or "rejected the input" in str(response.error)


@pytest.mark.parametrize("kind", ["application/json", "application/jsonlines", "text/csv", "application/x-npy"])
@pytest.mark.parametrize("function", ["def predict_fn(data, model):\n    return len(data)\n", ""])
def test_a_script(archive: Any, function: str, kind: str) -> None:
    """With a predict_fn, which gets arrays of the defaults; without one, a model of no framework gets them."""
    script = f"def model_fn(folder):\n    return lambda rows: [len(rows)]\n{function}"
    accept = kind
    rows = bodies(ROWS).get(kind) or bodies(ROWS)["application/json"]
    kind = kind if kind in bodies(ROWS) else "application/json"
    served = Served(archive(**{"inference.py": script}))
    with bounded_memory():
        response = served.post(rows, kind, Accept=accept)
    assert not isinstance(response.item, Exception), response.item


def test_a_model_of_text(tmp_path: Path) -> None:
    """A column of 300 short texts and one long one, which is no attack."""
    joblib, text = pytest.importorskip("joblib"), pytest.importorskip("sklearn.feature_extraction.text")
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(text.CountVectorizer(), MultinomialNB()).fit(["good day", "bad night"], [1, 0])
    joblib.dump(model, tmp_path / "model.joblib")
    served = Served(tmp_path)
    texts = ["good"] * 300 + ["bad night " * 30_000]
    for kind, body in (
        ("application/json", json.dumps(texts)),
        ("text/csv", "\n".join(texts)),
        ("application/jsonlines", "\n".join(json.dumps([text]) for text in texts)),
    ):
        with bounded_memory():
            response = served.post(body, kind)
        assert response.json == [1] * 300 + [0]


def test_texts_as_an_npy_answer(archive: Any) -> None:
    served = Served(archive(**{"inference.py": "def model_fn(folder):\n    return lambda rows: rows.tolist()\n"}))
    texts = json.dumps(["x"] * 300 + ["y" * 100_000]).encode()
    with bounded_memory():
        error = served.post(texts, Accept="application/x-npy").error
    assert error.status == 406
    assert "301 texts" in str(error)
    assert served.post(texts).json[-1] == "y" * 100_000


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"[" + b"0," * 6 * MB + b"0]"),
        ("application/jsonlines", b"[0]\n" * 3 * MB),
        ("text/csv", b"," * 6 * MB),
        ("text/csv", b"1\n" * 6 * MB),
    ],
    ids=["json", "jsonlines", "csv: one row", "csv: one column"],
)
def test_more_values_than_the_limit_are_not_parsed(kind: str, body: bytes) -> None:
    with bounded_memory(), pytest.raises(TooManyValuesError, match="5000000 values"):
        decode(body, kind)
