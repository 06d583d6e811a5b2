"""What SageMaker's image for XGBoost does for a script."""

import json
from typing import Any

import numpy
import pytest

from tests.handlers.conftest import Archive
from tests.handlers.served import Served
from tests.handlers.xgboost.test_handler import NEW, expected, saved, trained

xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed")

BOOSTER = (
    "import xgboost, numpy\ndef model_fn(folder):\n    return xgboost.Booster(model_file=folder + '/weights.ubj')\n"
)
KEPT = "def model_fn(folder):\n    return {'booster': xgboost.Booster(model_file=folder + '/weights.ubj')}\n"


@pytest.mark.parametrize(
    "script",
    [
        BOOSTER,
        f"{BOOSTER}def predict_fn(data, model):\n    return model.predict(data)\n",
        f"{BOOSTER}def input_fn(body, kind):\n    return xgboost.DMatrix(numpy.array({NEW}))\n",
        f"{BOOSTER}def input_fn(body, kind):\n    return numpy.array({NEW})\n",
        f"import xgboost\n{KEPT}def predict_fn(data, model):\n    return model['booster'].predict(data)\n",
        "def predict_fn(data, model):\n    return model.predict(data)\n",
        "def output_fn(prediction, accept):\n    return prediction, accept\n",
        "",
    ],
)
def test_a_booster_gets_a_matrix(archive: Archive, script: str) -> None:
    booster = trained()
    served = Served(archive(**{"code/inference.py": script, "weights.ubj": saved(booster)}))
    assert served.post(json.dumps(NEW)).json == pytest.approx(expected(booster))
    assert served.post("0.1,0.5,0.5\n0.9,0.5,0.5", "text/csv").json == pytest.approx(expected(booster))


def test_an_estimator_gets_an_array(archive: Archive) -> None:
    """Which SageMaker's image does not give it; it is served as an estimator of scikit-learn."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    import joblib

    rows = numpy.arange(20.0).reshape(10, 2)
    model = xgboost.XGBClassifier(n_estimators=2, n_jobs=1).fit(rows, rows[:, 0] > 9)
    script = "import joblib\ndef model_fn(folder):\n    return joblib.load(folder + '/weights.bin')\n"
    folder = archive(**{"inference.py": script})
    joblib.dump(model, folder / "weights.bin")
    served = Served(folder)
    answers: Any = served.post("[[0, 1], [18, 19]]").json
    assert answers == [0, 1]


def test_a_pickled_estimator_needs_no_script(archive: Archive) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    import joblib

    rows = numpy.arange(20.0).reshape(10, 2)
    folder = archive()
    joblib.dump(xgboost.XGBClassifier(n_estimators=2, n_jobs=1).fit(rows, rows[:, 0] > 9), folder / "model.joblib")
    assert Served(folder).post("[[0, 1], [18, 19]]").json == [0, 1]
