"""What SageMaker's image for scikit-learn does for a script."""

import io
from pathlib import Path
from typing import Any

import numpy
import pytest

from polyhost.handlers.errors import BadModelError
from tests.handlers.conftest import Archive
from tests.handlers.served import Served, npy

pytest.importorskip("sklearn")


def _dumped(model: Any) -> bytes:
    import joblib

    stream = io.BytesIO()
    joblib.dump(model, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("body", "content_type", "given"),
    [
        ("[[1, 2]]", "application/json", ["int64", [1, 2]]),
        ("1,2\n3,4", "text/csv", ["float64", [2, 2]]),
        (npy(numpy.ones((1, 2), "f4")), "application/x-npy", ["float32", [1, 2]]),
    ],
)
def test_an_estimators_predict_fn_gets_an_array(
    archive: Archive, moons_forest: Path, body: Any, content_type: str, given: Any
) -> None:
    source = "def predict_fn(data, model):\n    assert model.predict(data).shape == data.shape[:1]\n"
    source += "    return [str(data.dtype), list(data.shape)]\n"
    assert Served(archive(moons_forest, **{"inference.py": source})).post(body, content_type).json == given


def test_a_predict_fn_takes_what_has_no_predict(archive: Archive) -> None:
    """Such as a transformer, of which the archive has the file and no model_fn."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit([[0.0], [2.0]])
    source = "def predict_fn(data, model):\n    return model.transform(data)\n"
    folder = archive(**{"model.joblib": _dumped(scaler), "inference.py": source})
    assert Served(folder).post("[[1], [2]]").json == [[0.0], [1.0]]
    (folder / "inference.py").unlink()
    with pytest.raises(BadModelError, match="no predict method"):
        Served(folder)
