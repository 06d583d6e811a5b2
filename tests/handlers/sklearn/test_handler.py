import io
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy
import pytest

from polyhost.handlers.errors import BadModelError
from tests.handlers.conftest import Archive
from tests.handlers.served import ATTRIBUTES, Served, npy, picture

pytest.importorskip("sklearn")

import joblib
import sklearn
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

# As long as the running one, so that a pickle stays whole when the one takes the other's place.
OLDER = "0" + sklearn.__version__[1:]


def test_object_of_named_numbers_gives_one_prediction(moons_forest: Path) -> None:
    response = Served(moons_forest).post('{"data1": 0.5, "data2": 0.25}')

    model = pickle.loads((moons_forest / "pickled_rf_model.p").read_bytes())
    assert response.json == {"prediction": int(model.predict([[0.5, 0.25]])[0])}


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
def test_rows_in_every_media_type_give_the_same_predictions(
    moons_forest: Path, content_type: str, body: bytes | str
) -> None:
    assert Served(moons_forest).post(body, content_type).json == [0, 1]


def test_flat_list_is_one_row(moons_forest: Path) -> None:
    assert Served(moons_forest).post("[2, -1]").json == [1]


def test_probabilities_on_request(moons_forest: Path) -> None:
    served = Served(moons_forest)
    response = served.post("[[-1, 1], [2, -1]]", **{ATTRIBUTES: "trace=7, output=probabilities"})
    assert numpy.allclose(numpy.sum(response.json, axis=1), 1)
    assert numpy.argmax(response.json, axis=1).tolist() == [0, 1]


def test_unknown_output_is_rejected(moons_forest: Path) -> None:
    response = Served(moons_forest).post("[[1, 2]]", **{ATTRIBUTES: "output=votes"})
    assert (response.status, "output=votes" in str(response.error)) == (400, True)


def test_regressor_has_no_probabilities(archive: Archive) -> None:
    folder = archive(**{"model.pkl": pickle.dumps(LinearRegression().fit([[1], [2]], [2, 4]))})
    served = Served(folder)
    assert served.post("[[3], [4]]").json == pytest.approx([6, 8])
    assert served.post("[3, 4]").json == pytest.approx([6, 8])
    response = served.post("[[3]]", **{ATTRIBUTES: "output=probabilities"})
    assert (response.status, "LinearRegression gives no probabilities" in str(response.error)) == (400, True)


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
def test_columns_are_matched_by_name(named_pipeline: Path, content_type: str, body: str) -> None:
    assert Served(named_pipeline).post(body, content_type).json == ["warm"]


def test_missing_feature_is_named(named_pipeline: Path) -> None:
    response = Served(named_pipeline).post('{"size": 1}')
    assert (response.status, "without ['colour']" in str(response.error)) == (400, True)


def test_text_goes_to_a_text_pipeline(archive: Archive) -> None:
    model = make_pipeline(CountVectorizer(), MultinomialNB()).fit(["good fine", "bad awful"], ["+", "-"])
    served = Served(archive(**{"model.pickle": pickle.dumps(model)}))
    assert served.post('["fine good", "awful"]').json == ["+", "-"]


def test_picture_with_as_many_pixels_as_features(digits_forest: Path, digits: tuple[Any, Any]) -> None:
    images, targets = digits
    served = Served(digits_forest)
    responses = served.post_all(*((picture(image), {"content-type": "image/png"}) for image in images[:30]))
    assert [response.json[0] for response in responses] == targets[:30].tolist()


def test_picture_of_another_size_is_rejected(digits_forest: Path) -> None:
    response = Served(digits_forest).post(picture(numpy.zeros((9, 8))), "image/png")
    assert (response.status, "9 = 72 pixels" in str(response.error), "64 features" in str(response.error)) == (
        415,
        True,
        True,
    )


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("[[1, 2, 3]]", "expected [n, 2], given [1, 3]"),
        ("[[1, 2], [3]]", "row 1 has 1 values, row 0 has 2"),
        ("[[1, 2], 3]", "row 1 has no list of values"),
        ('[["a", 2]]', 'the column 0 takes numbers; row 0 has "a"'),
        ("[[[1, 2]]]", "expected [n, 2], given [1, 1, 2]"),
        ('[[{"x": 1}, 2]]', "not a number"),
    ],
)
def test_rows_that_do_not_fit(moons_forest: Path, body: str, text: str) -> None:
    response = Served(moons_forest).post(body)
    assert response.status == 400
    assert text in str(response.error)


def test_wrong_width_for_named_columns(named_pipeline: Path) -> None:
    response = Served(named_pipeline).post('[["red", 1, 2]]')
    assert (response.status, "rows of 2 values (colour, size), given rows of [3]" in str(response.error)) == (400, True)


def test_three_dimensions_for_named_columns(named_pipeline: Path) -> None:
    response = Served(named_pipeline).post(npy(numpy.zeros((1, 2, 2))), "application/x-npy")
    assert (response.status, "expected [n, 2], given [1, 2, 2]" in str(response.error)) == (400, True)


def test_flat_list_for_one_named_column_has_one_row_per_value(archive: Archive) -> None:
    import pandas

    table = pandas.DataFrame({"size": [1.0, 2.0]})
    served = Served(archive(**{"model.pkl": pickle.dumps(LinearRegression().fit(table, [2, 4]))}))
    assert served.post("[1, 2, 3]").json == pytest.approx([2, 4, 6])
    assert served.post(npy([1.0, 2.0, 3.0]), "application/x-npy").json == pytest.approx([2, 4, 6])
    assert served.post('{"size": 3}').json == {"prediction": pytest.approx(6)}


def test_null_is_nan(archive: Archive) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=1).fit([[0.0], [1.0], [numpy.nan]], [0, 1, 1])
    assert Served(archive(**{"model.p": pickle.dumps(model)})).post("[[null], [0]]").json == [1, 1]


def test_pickle_of_a_class_from_a_notebook(archive: Archive) -> None:
    folder = archive(**{"model.pkl": b"c__main__\nNotebookModel\n."})
    with pytest.raises(BadModelError, match=r"model\.pkl cannot be loaded: AttributeError.*not in a notebook"):
        Served(folder)


def test_pickle_of_a_missing_module(archive: Archive) -> None:
    folder = archive(**{"model.pkl": b"cno_such_module\nModel\n."})
    with pytest.raises(BadModelError, match="needs the module 'no_such_module': put it into the archive"):
        Served(folder)


@pytest.mark.parametrize("place", ["shapes_of_mine.py", "code/shapes_of_mine.py", "handlers.py"])
def test_pickle_finds_modules_of_its_archive(archive: Archive, place: str) -> None:
    module = Path(place).stem
    source = "class Twice:\n    def predict(self, rows):\n        return 2 * rows\n"
    folder = archive(**{place: source, "model.pkl": f"c{module}\nTwice\n)\x81.".encode("latin1")})
    assert Served(folder).post("[[1, 2]]").json == [[2, 4]]


def test_other_version_is_a_warning(archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    Served(archive(**{"model.pkl": _pickled_by(OLDER, DummyClassifier().fit([[0]], [1]))}))
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(messages) == 1
    assert OLDER in messages[0] and sklearn.__version__ in messages[0]


def test_failed_load_names_both_versions(archive: Archive) -> None:
    pickled = _pickled_by(OLDER, DummyClassifier().fit([[0]], [1]))
    folder = archive(**{"model.pkl": pickled.replace(b"DummyClassifier", b"DummyClassifiex")})
    with pytest.raises(
        BadModelError, match=f"saved with scikit-learn {re.escape(OLDER)}, this is {re.escape(sklearn.__version__)}"
    ):
        Served(folder)


def _pickled_by(version: str, model: Any) -> bytes:
    written = pickle.dumps(model)
    running = sklearn.__version__.encode()
    assert len(running) == len(version) and written.count(running) == 1
    return written.replace(running, version.encode())


def test_truncated_model(archive: Archive, digits_forest: Path) -> None:
    whole = (digits_forest / "model.joblib").read_bytes()
    with pytest.raises(BadModelError, match=r"model\.joblib cannot be loaded"):
        Served(archive(**{"model.joblib": whole[: len(whole) // 2]}))


def test_object_that_is_not_an_estimator(archive: Archive) -> None:
    stream = io.BytesIO()
    joblib.dump({"weights": [1]}, stream)
    with pytest.raises(BadModelError, match="gives a dict, which has no predict method"):
        Served(archive(**{"model.joblib": stream.getvalue()}))


def test_two_models(archive: Archive) -> None:
    with pytest.raises(BadModelError, match=r"found a\.pkl, b\.joblib; keep one"):
        Served(archive(**{"a.pkl": b"", "b.joblib": b""}))


def test_memory_errors_pass_unchanged(archive: Archive) -> None:
    source = "class Big:\n    def predict(self, rows):\n        raise MemoryError('no room')\n"
    folder = archive(**{"big.py": source, "model.pkl": b"cbig\nBig\n)\x81."})
    assert isinstance(Served(folder).post("[[1]]").error, MemoryError)


def test_bad_item_fails_alone(moons_forest: Path) -> None:
    good = ("[[2, -1]]", {"Content-Type": "application/json"})
    bad = ("[[", {"Content-Type": "application/json"})
    responses = Served(moons_forest).post_all(good, bad, good)
    assert [json.loads(responses[index].body) for index in (0, 2)] == [[1], [1]]
    assert responses[1].status == 400
