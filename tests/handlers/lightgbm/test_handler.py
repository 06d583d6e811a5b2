"""LightGBM's own models, real ones, trained in milliseconds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from polyhost.handlers.errors import BadModelError
from tests.handlers.conftest import Archive
from tests.handlers.served import Served, npy

lightgbm = pytest.importorskip("lightgbm", reason="lightgbm is not installed")

ROWS = numpy.random.default_rng(0).random((60, 3))
NEW = [[0.1, 0.5, 0.5], [0.9, 0.5, 0.5]]
OBJECTIVES: dict[str, dict[str, Any]] = {
    "binary": {},
    "multiclass": {"num_class": 3},
    "multiclassova": {"num_class": 3},
    "regression": {},
    "poisson": {},
    "cross_entropy": {},
}
SMALL = {"num_threads": 1, "verbosity": -1, "min_data_in_leaf": 1, "min_data_in_bin": 1, "num_leaves": 4}


def trained(objective: str = "binary", names: list[str] | None = None, **params: Any) -> Any:
    """Train on three columns, of which the first decides."""
    classes = 3 if objective.startswith("multi") else 2
    data = lightgbm.Dataset(ROWS, numpy.floor(ROWS[:, 0] * classes), feature_name=names or "auto")
    return lightgbm.train({**SMALL, "objective": objective, **params}, data, 4)


def saved(booster: Any) -> str:
    return str(booster.model_to_string())


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("kind", ["gbdt", "dart", "rf"])
def test_answers_are_the_boosters(archive: Archive, objective: str, kind: str) -> None:
    params = {**OBJECTIVES[objective], "bagging_freq": 1, "bagging_fraction": 0.9}
    booster = trained(objective, boosting=kind, **params)
    served = Served(archive(**{"model.txt": saved(booster)}))
    assert numpy.allclose(served.post(json.dumps(NEW)).json, booster.predict(NEW))


@pytest.mark.parametrize("name", ["model.txt", "churn.model"])
@pytest.mark.parametrize("change", [str, lambda text: text.replace("\n", "\r\n")], ids=["", "line ends of Windows"])
def test_every_form_of_file(archive: Archive, name: str, change: Callable[[str], str]) -> None:
    booster = trained()
    beside = {"README.txt": "tree of decisions", "requirements.txt": "", "metadata.json": "{}"}
    served = Served(archive(**{name: change(saved(booster)), **beside}))
    assert served.post(json.dumps(NEW)).json == pytest.approx(booster.predict(NEW))


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", json.dumps({"instances": NEW})),
        ("application/jsonlines", "\n".join(map(json.dumps, NEW))),
        ("text/csv", "0.1,0.5,0.5\n0.9,0.5,0.5\n"),
        ("text/csv", "x,y,z\n0.1,0.5,0.5\n0.9,0.5,0.5\n"),
        ("application/x-npy", npy(NEW)),
    ],
)
def test_rows_in_every_media_type_give_the_same_answers(archive: Archive, content_type: str, body: Any) -> None:
    booster = trained()
    served = Served(archive(**{"model.txt": saved(booster)}))
    assert served.post(body, content_type).json == pytest.approx(booster.predict(NEW))


def test_libsvm_is_for_xgboost(archive: Archive) -> None:
    """LightGBM takes what a row does not name for zero, XGBoost for missing."""
    assert Served(archive(**{"model.txt": saved(trained())})).post("0:1", "text/libsvm").status == 415


def test_answers_by_accept(archive: Archive) -> None:
    served = Served(archive(**{"model.txt": saved(trained("multiclass", num_class=3))}))
    rows = served.post(json.dumps(NEW)).json
    assert numpy.allclose(numpy.sum(rows, axis=1), 1)
    lines = served.post(json.dumps(NEW), Accept="text/csv").body.decode().splitlines()
    assert [[float(cell) for cell in line.split(",")] for line in lines] == rows


@pytest.mark.parametrize(("body", "kind"), [("[[null, 0.5, null]]", "application/json"), (",0.5,", "text/csv")])
def test_what_is_missing_is_missing(archive: Archive, body: str, kind: str) -> None:
    rows = ROWS.copy()
    rows[::4, 0] = numpy.nan
    data = lightgbm.Dataset(rows, numpy.isnan(rows[:, 0]).astype(float))
    booster = lightgbm.train({**SMALL, "objective": "binary", "learning_rate": 0.5}, data, 9)
    served = Served(archive(**{"model.txt": saved(booster)}))
    assert served.post(body, kind).json[0] > 0.8
    assert served.post("[[0.3, 0.5, 0.3]]").json[0] < 0.2


def test_features_by_name(archive: Archive) -> None:
    booster = trained(names=["age", "rooms", "price"])
    served = Served(archive(**{"model.txt": saved(booster)}))
    answers = booster.predict(NEW).tolist()
    assert served.post('[{"price": 0.5, "age": 0.1, "rooms": 0.5}]').json == pytest.approx(answers[:1])
    assert served.post('{"price": 0.5, "age": 0.1, "rooms": 0.5}').json == {"prediction": pytest.approx(answers[0])}
    assert "without ['price']" in str(served.post('{"age": 1, "rooms": 2}').error)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("[[1, 2]]", "wrong shape: expected [n, 3], given [1, 2]"),
        ('[[1, "red", 3]]', "the column 1 takes numbers; row 0 has 'red'"),
    ],
)
def test_rows_that_do_not_fit(archive: Archive, body: str, text: str) -> None:
    response = Served(archive(**{"model.txt": saved(trained())})).post(body)
    assert response.status == 400
    assert text in str(response.error)


@pytest.fixture
def of_categories(archive: Archive) -> Served:
    """Serve a model that was trained on a table of pandas, and whose answer is 1 for red and 20."""
    pandas = pytest.importorskip("pandas")
    colours, sizes = ["red", "blue", "green"] * 20, [10, 20, 30, 20] * 15
    table = pandas.DataFrame(
        {"colour": pandas.Categorical(colours), "price": ROWS[:, 0], "size": pandas.Categorical(sizes), "same": 1.0}
    )
    targets = [float(colour == "red" and size == 20) for colour, size in zip(colours, sizes, strict=True)]
    exact = {"min_data_per_group": 1, "cat_smooth": 0.0, "cat_l2": 0.0, "learning_rate": 0.5}
    return Served(
        archive(**{"model.txt": saved(lightgbm.train({**SMALL, **exact}, lightgbm.Dataset(table, targets), 30))})
    )


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ('[["red", 0.5, 20, 1], ["blue", 0.5, 20, 1], ["red", 0.5, 10, 1], ["pink", 0.5, 20, 1]]', "application/json"),
        ("red,0.5,20,1\nblue,0.5,20,1\nred,0.5,10.0,1\npink,0.5,20,1", "text/csv"),
    ],
)
def test_categories_are_what_they_were_in_training(of_categories: Served, body: str, content_type: str) -> None:
    """A value that training had not is missing, as it is to LightGBM."""
    assert of_categories.post(body, content_type).json == pytest.approx([1, 0, 0, 0], abs=0.1)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda text: text[: len(text) // 4], "model.txt is truncated: it has no line 'end of trees'"),
        (lambda text: text.replace("threshold=", "threshold=x", 1), "model.txt cannot be loaded: LightGBMError: "),
        (lambda text: text.replace("num_leaves=", "num_leaves=9", 1), "model.txt cannot be loaded: LightGBMError: "),
        (
            lambda text: text.replace("objective=binary", "objective=quantum"),
            "its format is v4, this is LightGBM",
        ),
        (lambda text: text.replace("tree_sizes=", "tree_sizes=9 "), "it has 4 trees, and says that it has 5"),
        (lambda text: text[: text.index("Tree=1")] + text[text.index("\nend of trees") :], "it has 1 trees, and says"),
    ],
)
def test_damaged_file(archive: Archive, change: Callable[[str], str], text: str) -> None:
    with pytest.raises(BadModelError) as raised:
        Served(archive(**{"model.txt": change(saved(trained()))}))
    assert text in str(raised.value)


def test_newer_format_is_named(archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    booster = trained()
    served = Served(archive(**{"model.txt": saved(booster).replace("version=v4", "version=v9")}))
    assert served.post(json.dumps(NEW)).json == pytest.approx(booster.predict(NEW))
    assert "model.txt has the format v9, which is newer than this LightGBM's" in caplog.text


def test_text_of_another_kind_is_named(archive: Archive) -> None:
    with pytest.raises(BadModelError, match=r"no model of a framework here begins as labels\.txt"):
        Served(archive(**{"labels.txt": "cat\ndog\n"}))


def test_files_beside_another_frameworks_model(archive: Archive, moons_forest: Path) -> None:
    assert Served(archive(moons_forest, **{"model.txt": saved(trained())})).post("[[2, -1]]").json == [1]


def test_batches_are_answered_as_alone(archive: Archive) -> None:
    booster = trained()
    served = Served(archive(**{"model.txt": saved(booster)}))
    requests = [(json.dumps([row]), {"Content-Type": "application/json"}) for row in NEW]
    for _ in range(2):  # the first batch is computed both ways
        answers = [response.json[0] for response in served.post_all(*requests)]
        assert answers == pytest.approx(booster.predict(NEW))


def test_a_scripts_booster(archive: Archive) -> None:
    booster = trained()
    script = "import lightgbm\ndef model_fn(folder):\n    return lightgbm.Booster(model_file=folder + '/weights')\n"
    served = Served(archive(**{"inference.py": script, "weights": saved(booster)}))
    assert served.post(json.dumps(NEW)).json == pytest.approx(booster.predict(NEW))
