"""XGBoost's own models, real ones, trained in milliseconds."""

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from polyhost.handlers.errors import BadModelError
from tests.handlers.conftest import Archive
from tests.handlers.served import Served, npy, picture

xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed")

ROWS = numpy.random.default_rng(0).random((60, 3))
NEW = [[0.1, 0.5, 0.5], [0.9, 0.5, 0.5]]
OBJECTIVES: dict[str, dict[str, Any]] = {
    "binary:logistic": {},
    "binary:logitraw": {},
    "binary:hinge": {},
    "multi:softmax": {"num_class": 3},
    "multi:softprob": {"num_class": 3},
    "reg:squarederror": {},
    "count:poisson": {},
    "rank:pairwise": {},
}


def trained(objective: str = "binary:logistic", names: list[str] | None = None, rounds: int = 4, **params: Any) -> Any:
    """Train on three columns, of which the first decides."""
    classes = 3 if objective.startswith("multi") else 2
    matrix = xgboost.DMatrix(ROWS, numpy.floor(ROWS[:, 0] * classes), feature_names=names, nthread=1)
    return xgboost.train({"objective": objective, "nthread": 1, **params}, matrix, rounds)


def saved(booster: Any, form: str = "ubj") -> bytes:
    return bytes(booster.save_raw(form))


def expected(booster: Any, rows: Any = NEW) -> Any:
    given = numpy.asarray(rows, dtype=float)
    return booster.predict(xgboost.DMatrix(given, nthread=1), validate_features=False).tolist()


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("kind", ["gbtree", "gblinear", "dart"])
def test_answers_are_the_boosters(archive: Archive, objective: str, kind: str) -> None:
    booster = trained(objective, booster=kind, **OBJECTIVES[objective])
    served = Served(archive(**{"model.ubj": saved(booster)}))
    assert numpy.allclose(served.post(json.dumps(NEW)).json, expected(booster), rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("model.json", lambda booster: saved(booster, "json")),
        ("model.json", lambda booster: json.dumps(json.loads(saved(booster, "json")), indent=1).encode()),
        ("model.ubj", saved),
        ("model.ubj", lambda booster: saved(booster, "json")),
        ("churn.model", saved),
        ("churn.model", lambda booster: saved(booster, "json")),
        ("churn.model", pickle.dumps),
        ("xgboost-model", saved),
        ("xgboost-model", lambda booster: saved(booster, "json")),
        *(("xgboost-model", lambda booster, p=protocol: pickle.dumps(booster, p)) for protocol in range(6)),
    ],
)
def test_every_form_of_file(archive: Archive, name: str, make: Callable[[Any], bytes]) -> None:
    booster = trained()
    # What people put beside a model, under names that a model may have too.
    beside = {"config.json": '{"learner": 1}', "labels.txt": "no\nyes\n", "README.txt": "tree"}
    assert Served(archive(**{name: make(booster)}, **beside)).post(json.dumps(NEW)).json == pytest.approx(
        expected(booster)
    )


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", json.dumps(NEW)),
        ("application/json", json.dumps({"instances": NEW})),
        ("application/jsonlines", "\n".join(map(json.dumps, NEW))),
        ("text/csv", "0.1,0.5,0.5\n0.9,0.5,0.5\n"),
        ("text/csv", "x,y,z\n0.1,0.5,0.5\n0.9,0.5,0.5\n"),
        ("text/libsvm", "0:0.1 1:0.5 2:0.5\n1 0:0.9 1:0.5 2:0.5\n"),
        ("text/x-libsvm", "0 0:0.1 1:0.5 2:0.5\n\n1 0:0.9 2:0.5 1:0.5"),
        ("text/libsvm; base=1", "1:0.1 2:0.5 3:0.5\n1:0.9 2:0.5 3:0.5"),
        ("application/x-npy", npy(NEW)),
        ("application/x-npy", npy(numpy.asarray(NEW, dtype="f4"))),
    ],
)
def test_rows_in_every_media_type_give_the_same_answers(archive: Archive, content_type: str, body: Any) -> None:
    booster = trained()
    served = Served(archive(**{"model.ubj": saved(booster)}))
    assert served.post(body, content_type).json == pytest.approx(expected(booster))


def test_answers_by_accept(archive: Archive) -> None:
    served = Served(archive(**{"model.ubj": saved(trained("multi:softprob", num_class=3))}))
    rows = served.post(json.dumps(NEW)).json
    assert [len(row) for row in rows] == [3, 3]
    lines = served.post(json.dumps(NEW), Accept="text/csv").body.decode().splitlines()
    assert [[float(cell) for cell in line.split(",")] for line in lines] == rows
    assert served.post('{"a": 0.1, "b": 0.5, "c": 0.5}').json == {"prediction": rows[0]}


def test_one_value_a_line_in_csv(archive: Archive) -> None:
    booster = trained()
    body = Served(archive(**{"model.ubj": saved(booster)})).post(json.dumps(NEW), Accept="text/csv").body
    assert [float(line) for line in body.decode().splitlines()] == pytest.approx(expected(booster))


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", "[[null, 0.5, null]]"),
        ("application/json", "[[NaN, 0.5, NaN]]"),
        ("text/csv", ",0.5,"),
        ("text/libsvm", "1:0.5"),
        ("text/libsvm", "1 1:0.5"),
        ("application/x-npy", npy([[numpy.nan, 0.5, numpy.nan]])),
    ],
)
def test_what_is_missing_is_missing(archive: Archive, content_type: str, body: Any) -> None:
    """And no zero: the answer is that of the branch which missing values were trained to take."""
    rows = ROWS.copy()
    rows[::4, 0] = numpy.nan
    matrix = xgboost.DMatrix(rows, numpy.isnan(rows[:, 0]), nthread=1)
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, matrix, 9)
    served = Served(archive(**{"model.ubj": saved(booster)}))
    (answer,) = served.post(body, content_type).json
    assert answer > 0.8
    assert served.post("[[0, 0.5, 0]]").json[0] < 0.2


def test_features_by_name(archive: Archive) -> None:
    booster = trained(names=["age", "rooms", "price"])
    served = Served(archive(**{"model.json": saved(booster, "json")}))
    answers = expected(booster)
    assert served.post('[{"price": 0.5, "age": 0.1, "rooms": 0.5, "id": "x"}]').json == pytest.approx(answers[:1])
    assert served.post("price,age,rooms\n0.5,0.1,0.5\n", "text/csv").json == pytest.approx(answers[:1])
    assert served.post(json.dumps(NEW)).json == pytest.approx(answers)
    error = served.post('{"age": 1, "rooms": 2}').error
    assert (error.status, "without ['price']" in str(error)) == (400, True)


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        ("[[1, 2]]", "application/json", "wrong shape: expected [n, 3], given [1, 2]"),
        (npy(numpy.ones((1, 2, 3))), "application/x-npy", "expected [n, 3], given [1, 2, 3]"),
        ("[[1, 2, 3], [1, 2]]", "application/json", "row 1 has 2 values, row 0 has 3"),
        ('[[1, 2, 3], [1, "red", 3]]', "application/json", "the column 1 takes numbers; row 1 has 'red'"),
        ("1,2,3\n4,,x\n", "text/csv", "the column 2 takes numbers; row 1 has 'x'"),
        ('[[1, 2, {"a": 1}]]', "application/json", "the column 2 takes numbers; row 0 has {'a': 1}"),
        ("0:1 3:1", "text/libsvm", "line 1 has the index 3; the model has 3 columns, whose indices are 0 to 2"),
        ("0:1", "text/libsvm; base=1", "line 1 has the index 0; the model has 3 columns, whose indices are 1 to 3"),
        ("0:1\n1 x:2", "text/libsvm", "line 2 has 'x:2'; expected an index and a number"),
        ("0:1 1", "text/libsvm", "line 1 has '1'; expected an index and a number"),
        ("0:1", "text/libsvm; base=2", "base=2 of the Content-Type must be 0 or 1"),
        ("\n", "text/libsvm", "the body holds no row"),
        ("[[1, 2, 1e39]]", "application/json", "the model takes float32, which cannot hold 1e+39"),
    ],
)
def test_rows_that_do_not_fit(archive: Archive, body: Any, content_type: str, text: str) -> None:
    response = Served(archive(**{"model.ubj": saved(trained())})).post(body, content_type)
    assert response.status == 400
    assert text in str(response.error)


def test_booleans_as_pandas_writes_them(archive: Archive) -> None:
    booster = trained()
    served = Served(archive(**{"model.ubj": saved(booster)}))
    for body, kind in (("True,0.5,False\n", "text/csv"), ("[[true, 0.5, false]]", "application/json")):
        assert served.post(body, kind).json == pytest.approx(expected(booster, [[1, 0.5, 0]]))


def test_infinity_where_a_matrix_is_needed(archive: Archive) -> None:
    served = Served(archive(**{"model.ubj": saved(trained(booster="gblinear"))}))
    response = served.post("[[Infinity, 1, 1]]")
    assert response.status == 400
    assert "Input data contains `inf`" in str(response.error) and "Stack trace" not in str(response.error)


def test_picture_of_as_many_pixels_as_features(archive: Archive) -> None:
    matrix = xgboost.DMatrix(numpy.arange(8.0).reshape(2, 4), [0, 1], nthread=1)
    booster = xgboost.train({"nthread": 1}, matrix, 1)
    served = Served(archive(**{"model.ubj": saved(booster)}))
    assert len(served.post(picture(numpy.ones((2, 2))), "image/png").json) == 1
    assert served.post(picture(numpy.ones((2, 3))), "image/png").status == 415


def test_model_that_stopped_early_answers_of_its_best_round(archive: Archive) -> None:
    booster = trained(rounds=9)
    booster.set_attr(best_iteration="2")
    served = Served(archive(**{"model.ubj": saved(booster)}))
    matrix = xgboost.DMatrix(numpy.asarray(NEW), nthread=1)
    assert (
        served.post(json.dumps(NEW)).json
        == pytest.approx(booster.predict(matrix, iteration_range=(0, 3)).tolist())
        != pytest.approx(expected(booster))
    )


# Categories


@pytest.fixture
def of_categories(archive: Archive) -> Served:
    """Serve a model whose file names the categories of two columns, and whose answer is 1 for red and 20."""
    pandas = pytest.importorskip("pandas")
    colours, sizes = ["red", "blue", "green"] * 20, [10, 20, 30, 20] * 15
    table = pandas.DataFrame(
        {"colour": pandas.Categorical(colours), "price": ROWS[:, 0], "size": pandas.Categorical(sizes)}
    )
    targets = [float(colour == "red" and size == 20) for colour, size in zip(colours, sizes, strict=True)]
    matrix = xgboost.DMatrix(table, targets, enable_categorical=True, nthread=1)
    booster = xgboost.train({"nthread": 1, "max_cat_to_onehot": 1}, matrix, 60)
    return Served(archive(**{"model.json": saved(booster, "json")}))


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ('[["red", 0.5, 20], ["blue", 0.5, 20], ["red", 0.5, 10], [null, 0.5, null]]', "application/json"),
        ("red,0.5,20\nblue,0.5,20\nred,0.5,10.0\n,0.5,\n", "text/csv"),
        ("price,size,colour\n0.5,20,red\n0.5,20,blue\n0.5,10,red\n0.5,,\n", "text/csv"),
    ],
)
def test_categories_are_what_they_were_in_training(of_categories: Served, body: str, content_type: str) -> None:
    answers = of_categories.post(body, content_type).json
    assert answers[:3] == pytest.approx([1, 0, 0], abs=0.1)
    assert len(answers) == 4


def test_category_that_training_had_not(of_categories: Served) -> None:
    response = of_categories.post('[["red", 0.5, 20], ["violet", 0.5, 20]]')
    assert response.status == 400
    assert "the column 'colour' takes one of 'blue', 'green', 'red'; row 1 has 'violet'" in str(response.error)
    assert "the column 'size' takes one of 10, 20, 30; row 0 has 1" in str(of_categories.post('[["red", 0, 1]]').error)


def test_codes_where_the_file_names_no_categories(archive: Archive) -> None:
    rows = ROWS.copy()
    rows[:, 0] = numpy.arange(60) % 3
    matrix = xgboost.DMatrix(rows, rows[:, 0] == 1, feature_types=["c", "q", "q"], enable_categorical=True, nthread=1)
    served = Served(archive(**{"model.ubj": saved(xgboost.train({"nthread": 1}, matrix, 60))}))
    assert served.post("[[1, 0.5, 0.5], [2, 0.5, 0.5]]").json == pytest.approx([1, 0], abs=0.1)
    for wrong in ("-1", "1.5", '"red"'):
        response = served.post(f"[[{wrong}, 0.5, 0.5]]")
        assert (response.status, "the column 0 takes codes of categories" in str(response.error)) == (400, True)


# Files that cannot be served


@pytest.mark.parametrize(
    ("name", "change", "text"),
    [
        ("model.ubj", lambda model: model[: len(model) // 2], "model.ubj is cut off: it does not end in a"),
        ("model.ubj", lambda model: saved(trained(), "json")[:-9] + b"}", "model.ubj cannot be loaded: XGBoostError: "),
        ("model.ubj", lambda model: b"", "model.ubj is no model of XGBoost: neither JSON nor UBJSON nor a pickled"),
        (
            "xgboost-model",
            lambda model: b"\0\0\0?" + bytes(200),
            "in the binary form of XGBoost before 2.1, convert it",
        ),
        ("xgboost-model", lambda model: pickle.dumps([model]), "xgboost-model is no model of XGBoost"),
        ("xgboost-model", lambda model: pickle.dumps(trained())[:500], "xgboost-model cannot be loaded"),
    ],
)
def test_damaged_file(archive: Archive, name: str, change: Callable[[bytes], bytes], text: str) -> None:
    with pytest.raises(BadModelError) as raised:
        Served(archive(**{name: change(saved(trained()))}))
    assert text in str(raised.value)
    assert "Stack trace" not in str(raised.value)


def test_newer_versions_are_named(archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    newer = re.sub(rb'"version":\[.*\]', b'"version":[99,1,0]', saved(trained(), "json"))
    served = Served(archive(**{"model.json": newer}))
    assert served.post(json.dumps(NEW)).json
    assert f"saved by XGBoost 99.1, which is newer than this one ({xgboost.__version__})" in caplog.text
    with pytest.raises(BadModelError, match=r"Unknown.*gbforest.*saved by XGBoost 99\.1, this is "):
        Served(archive(**{"model.json": newer.replace(b'"gbtree"', b'"gbforest"')}))


def test_two_models(archive: Archive) -> None:
    files = {"a.json": saved(trained(), "json"), "b.json": saved(trained(), "json")}
    with pytest.raises(BadModelError, match=r"found a\.json, b\.json; keep one, or add an inference\.py"):
        Served(archive(**files))


def test_file_of_another_kind_is_named(archive: Archive) -> None:
    with pytest.raises(BadModelError, match=r"no model of a framework here begins as config\.json, word2vec\.model"):
        Served(archive(**{"config.json": "{}", "word2vec.model": pickle.dumps({})}))


def test_files_beside_another_frameworks_model(archive: Archive, moons_forest: Path) -> None:
    served = Served(archive(moons_forest, **{"model.json": saved(trained(), "json"), "labels.txt": "tree\n"}))
    assert served.post("[[2, -1]]").json == [1]


def test_batches_are_answered_as_alone(archive: Archive) -> None:
    booster = trained()
    served = Served(archive(**{"model.ubj": saved(booster)}))
    requests = [(json.dumps([row]), {"Content-Type": "application/json"}) for row in NEW]
    bad = ("[[1]]", {"Content-Type": "application/json"})
    for _ in range(2):  # the first batch is computed both ways
        first, wrong, second = served.post_all(requests[0], bad, requests[1])
        assert [*first.json, *second.json] == pytest.approx(expected(booster))
        assert wrong.status == 400
