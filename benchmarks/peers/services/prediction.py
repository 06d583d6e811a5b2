"""The models as all peers' services load them: what a peer adds is all that differs.

Frameworks are imported with the first model that needs them, by all services alike.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

Rows = list[list[float]]
Predict = Callable[[Rows], Any]


def model_folder(name: str) -> Path:
    """Return the folder of a model. Raise KeyError for an unknown name."""
    folder = Path(os.environ["MODELS_DIR"]) / name / "model"
    if "/" in name or not folder.is_dir():
        raise KeyError(name)
    return folder


def load(folder: Path) -> Predict:
    """Load the model that the folder holds; what is returned makes a list of predictions, one per row."""
    return _load_estimator(folder) if (folder / "model.joblib").exists() else _load_script(folder)


def _load_estimator(folder: Path) -> Predict:
    import joblib
    import numpy as np

    estimator = joblib.load(folder / "model.joblib")
    return lambda rows: estimator.predict(np.asarray(rows)).tolist()


def _load_script(folder: Path) -> Predict:
    import torch

    module = torch.jit.load(str(folder / "model.pt")).eval()  # type: ignore[no-untyped-call]

    def predict(rows: Rows) -> Any:
        with torch.inference_mode():
            return module(torch.tensor(rows)).tolist()

    return predict
