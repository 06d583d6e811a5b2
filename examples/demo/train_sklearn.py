"""Three scikit-learn models: a forest, one with an inference.py of its own, and the smallest forest of all."""

import pickle
import shutil
from pathlib import Path

import joblib
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier

from examples.demo.digits import Samples

INFERENCE = Path(__file__).parents[1] / "custom_model" / "inference.py"


def forest(folder: Path, samples: Samples) -> None:
    """Write an estimator with joblib; it takes rows of 64 pixels."""
    estimator = RandomForestClassifier(n_estimators=100, random_state=0).fit(samples.rows(), samples.y)
    joblib.dump(estimator, folder / "model.joblib", compress=3)


def custom(folder: Path, samples: Samples) -> None:
    """Write an estimator, and beside it the script that decodes requests and encodes responses."""
    joblib.dump(KNeighborsClassifier(3).fit(samples.rows(), samples.y), folder / "model.joblib")
    shutil.copy(INFERENCE, folder)


def moons(folder: Path, samples: Samples) -> None:
    """Pickle a forest of five trees over two features; a request is {"data1": 0.5, "data2": 0.25}."""
    estimator = RandomForestClassifier(n_estimators=5, random_state=0).fit(samples.x, samples.y)
    (folder / "pickled_rf_model.p").write_bytes(pickle.dumps(estimator))
