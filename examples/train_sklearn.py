"""Three scikit-learn models: a forest, one with an inference.py of its own, and the smallest forest of all."""

import pickle
import shutil
from pathlib import Path

import joblib
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier

from examples.digits import Samples

INFERENCE = Path(__file__).with_name("custom_model") / "inference.py"


def forest(folder: Path, samples: Samples) -> None:
    """An estimator as joblib writes it; it takes rows of 64 pixels."""
    estimator = RandomForestClassifier(n_estimators=100, random_state=0).fit(samples.rows(), samples.y)
    joblib.dump(estimator, folder / "model.joblib", compress=3)


def custom(folder: Path, samples: Samples) -> None:
    """An estimator, and beside it the script that says how to ask it."""
    joblib.dump(KNeighborsClassifier(3).fit(samples.rows(), samples.y), folder / "model.joblib")
    shutil.copy(INFERENCE, folder)


def moons(folder: Path, samples: Samples) -> None:
    """A pickled forest of five trees over two features; it is asked with {"data1": 0.5, "data2": 0.25}."""
    estimator = RandomForestClassifier(n_estimators=5, random_state=0).fit(samples.x, samples.y)
    (folder / "pickled_rf_model.p").write_bytes(pickle.dumps(estimator))
