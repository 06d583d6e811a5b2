from __future__ import annotations

import io
import json
import pickle
import re
from pathlib import Path
from typing import Any

import joblib
import numpy
import pytest
import sklearn
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from polyhost.handlers.errors import BadModelError
from tests.handlers.conftest import Archive
from tests.handlers.served import ATTRIBUTES, Served, npy, picture

# As long as the running one, so that a pickle stays whole when the one takes the other's place.
OLDER = "0" + sklearn.__version__[1:]


def test_seed_body_of_named_numbers_gives_a_prediction(moons_forest: Path) -> None:
    reply = Served(moons_forest).ask('{"data1": 0.5, "data2": 0.25}')

    model = pickle.loads((moons_forest / "pickled_rf_model.p").read_bytes())
    assert reply.json == {"prediction": int(model.predict([[0.5, 0.25]])[0])}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", "[[-1, 1], [2, -1]]"),
        ("application/json", '{"instances": [[-1, 1], [2, -1]]}'),
        ("application/json", '[{"a": -1, "b": 1}, {"b": -1, "a": 2}]'),
        ("text/csv", "-1,1\n2,-1\n"),
        ("text/csv", "a,b\r\n-1,1\r\n2,-1"),
        ("application/jsonlines", "[-1, 1]\n[2, -1]\n"),
        ("application/x-npy", npy([[-1.0, 1.0], [2.0, -1.0]])),
        ("application/x-npy", npy(numpy.asfortranarray([[-1, 1], [2, -1]]))),
    ],
)
def test_every_kind_of_rows_gives_the_same_answer(moons_forest: Path, content_type: str, body: bytes | str) -> None:
    assert Served(moons_forest).ask(body, content_type).json == [0, 1]


def test_a_flat_list_is_one_row(moons_forest: Path) -> None:
    assert Served(moons_forest).ask("[2, -1]").json == [1]


def test_probabilities_on_request(moons_forest: Path) -> None:
    served = Served(moons_forest)
    reply = served.ask("[[-1, 1], [2, -1]]", **{ATTRIBUTES: "trace=7, output=probabilities"})
    assert numpy.allclose(numpy.sum(reply.json, axis=1), 1)
    assert numpy.argmax(reply.json, axis=1).tolist() == [0, 1]


def test_an_unknown_output_is_refused(moons_forest: Path) -> None:
    reply = Served(moons_forest).ask("[[1, 2]]", **{ATTRIBUTES: "output=votes"})
    assert (reply.status, "output=votes" in str(reply.error)) == (400, True)


def test_a_regressor_has_no_probabilities(archive: Archive) -> None:
    folder = archive(**{"model.pkl": pickle.dumps(LinearRegression().fit([[1], [2]], [2, 4]))})
    served = Served(folder)
    assert served.ask("[[3], [4]]").json == pytest.approx([6, 8])
    assert served.ask("[3, 4]").json == pytest.approx([6, 8])
    reply = served.ask("[[3]]", **{ATTRIBUTES: "output=probabilities"})
    assert (reply.status, "LinearRegression gives no probabilities" in str(reply.error)) == (400, True)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", '[{"size": 1, "colour": "red", "unknown": 3}]'),
        ("application/json", '[["red", 1]]'),
        ("application/json", '["red", 1]'),
        ("text/csv", "red,1\n"),
        ("text/csv;header=present", "size,colour\n1,red\n"),
        ("application/jsonlines", '{"size": 1, "colour": "red"}\n'),
    ],
)
def test_columns_go_by_name_where_the_estimator_has_names(named_pipeline: Path, content_type: str, body: str) -> None:
    assert Served(named_pipeline).ask(body, content_type).json == ["warm"]


def test_a_missing_feature_is_named(named_pipeline: Path) -> None:
    reply = Served(named_pipeline).ask('{"size": 1}')
    assert (reply.status, "without ['colour']" in str(reply.error)) == (400, True)


def test_text_goes_to_a_text_pipeline(archive: Archive) -> None:
    model = make_pipeline(CountVectorizer(), MultinomialNB()).fit(["good fine", "bad awful"], ["+", "-"])
    served = Served(archive(**{"model.pickle": pickle.dumps(model)}))
    assert served.ask('["fine good", "awful"]').json == ["+", "-"]


def test_a_picture_with_as_many_pixels_as_features(digits_forest: Path, digits: tuple[Any, Any]) -> None:
    images, targets = digits
    served = Served(digits_forest)
    replies = served.ask_all(*((picture(image), {"content-type": "image/png"}) for image in images[:30]))
    assert [reply.json[0] for reply in replies] == targets[:30].tolist()


def test_a_picture_of_another_size_is_refused(digits_forest: Path) -> None:
    reply = Served(digits_forest).ask(picture(numpy.zeros((9, 8))), "image/png")
    assert (reply.status, "9 = 72 pixels" in str(reply.error), "64 features" in str(reply.error)) == (415, True, True)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("[[1, 2, 3]]", "expected [n, 2], given [1, 3]"),
        ("[[1, 2], [3]]", "row 1 has 1 values, row 0 has 2"),
        ("[[1, 2], 3]", "row 1 has no list of values"),
        ('[["a", 2]]', "could not convert string to float: 'a'"),
        ("[[[1, 2]]]", "dim 3"),
        ('[[{"x": 1}, 2]]', "not a number"),
    ],
)
def test_rows_that_do_not_fit(moons_forest: Path, body: str, text: str) -> None:
    reply = Served(moons_forest).ask(body)
    assert reply.status == 400
    assert text in str(reply.error)


def test_rows_of_the_wrong_width_for_named_columns(named_pipeline: Path) -> None:
    reply = Served(named_pipeline).ask('[["red", 1, 2]]')
    assert (reply.status, "rows of 2 values (colour, size), given rows of [3]" in str(reply.error)) == (400, True)


def test_an_array_of_three_dimensions_for_named_columns(named_pipeline: Path) -> None:
    reply = Served(named_pipeline).ask(npy(numpy.zeros((1, 2, 2))), "application/x-npy")
    assert (reply.status, "expected [n, 2], given [1, 2, 2]" in str(reply.error)) == (400, True)


def test_a_flat_list_for_one_named_column_is_a_row_a_value(archive: Archive) -> None:
    import pandas

    table = pandas.DataFrame({"size": [1.0, 2.0]})
    served = Served(archive(**{"model.pkl": pickle.dumps(LinearRegression().fit(table, [2, 4]))}))
    assert served.ask("[1, 2, 3]").json == pytest.approx([2, 4, 6])
    assert served.ask(npy([1.0, 2.0, 3.0]), "application/x-npy").json == pytest.approx([2, 4, 6])
    assert served.ask('{"size": 3}').json == {"prediction": pytest.approx(6)}


def test_null_is_a_missing_number(archive: Archive) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=1).fit([[0.0], [1.0], [numpy.nan]], [0, 1, 1])
    assert Served(archive(**{"model.p": pickle.dumps(model)})).ask("[[null], [0]]").json == [1, 1]


def test_a_pickle_of_a_class_that_only_a_notebook_had(archive: Archive) -> None:
    folder = archive(**{"model.pkl": b"c__main__\nNotebookModel\n."})
    with pytest.raises(BadModelError, match=r"model\.pkl cannot be loaded: AttributeError.*not in a notebook"):
        Served(folder)


def test_a_pickle_of_a_missing_module(archive: Archive) -> None:
    folder = archive(**{"model.pkl": b"cno_such_module\nModel\n."})
    with pytest.raises(BadModelError, match="needs the module 'no_such_module'; put it into the archive"):
        Served(folder)


@pytest.mark.parametrize("place", ["shapes_of_mine.py", "code/shapes_of_mine.py", "handlers.py"])
def test_a_pickle_finds_the_modules_of_its_archive(archive: Archive, place: str) -> None:
    module = Path(place).stem
    source = "class Twice:\n    def predict(self, rows):\n        return 2 * rows\n"
    folder = archive(**{place: source, "model.pkl": f"c{module}\nTwice\n)\x81.".encode("latin1")})
    assert Served(folder).ask("[[1, 2]]").json == [[2, 4]]


def test_another_version_is_a_warning(archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    Served(archive(**{"model.pkl": _pickled_by(OLDER, DummyClassifier().fit([[0]], [1]))}))
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(messages) == 1
    assert OLDER in messages[0] and sklearn.__version__ in messages[0]


def test_a_load_failure_names_both_versions(archive: Archive) -> None:
    pickled = _pickled_by(OLDER, DummyClassifier().fit([[0]], [1]))
    folder = archive(**{"model.pkl": pickled.replace(b"DummyClassifier", b"DummyClassifiex")})
    with pytest.raises(
        BadModelError, match=f"saved with scikit-learn {re.escape(OLDER)}; this is {re.escape(sklearn.__version__)}"
    ):
        Served(folder)


def _pickled_by(version: str, model: Any) -> bytes:
    written = pickle.dumps(model)
    running = sklearn.__version__.encode()
    assert len(running) == len(version) and written.count(running) == 1
    return written.replace(running, version.encode())


def test_a_truncated_model(archive: Archive, digits_forest: Path) -> None:
    whole = (digits_forest / "model.joblib").read_bytes()
    with pytest.raises(BadModelError, match=r"model\.joblib cannot be loaded"):
        Served(archive(**{"model.joblib": whole[: len(whole) // 2]}))


def test_something_that_is_no_estimator(archive: Archive) -> None:
    stream = io.BytesIO()
    joblib.dump({"weights": [1]}, stream)
    with pytest.raises(BadModelError, match="holds a dict, which has no predict method"):
        Served(archive(**{"model.joblib": stream.getvalue()}))


def test_two_models(archive: Archive) -> None:
    with pytest.raises(BadModelError, match=r"found a\.pkl, b\.joblib; keep one"):
        Served(archive(**{"a.pkl": b"", "b.joblib": b""}))


def test_memory_errors_pass_unchanged(archive: Archive) -> None:
    source = "class Big:\n    def predict(self, rows):\n        raise MemoryError('no room')\n"
    folder = archive(**{"big.py": source, "model.pkl": b"cbig\nBig\n)\x81."})
    assert isinstance(Served(folder).ask("[[1]]").error, MemoryError)


def test_a_bad_item_fails_alone(moons_forest: Path) -> None:
    good = ("[[2, -1]]", {"Content-Type": "application/json"})
    bad = ("[[", {"Content-Type": "application/json"})
    replies = Served(moons_forest).ask_all(good, bad, good)
    assert [json.loads(replies[index].body) for index in (0, 2)] == [[1], [1]]
    assert replies[1].status == 400
