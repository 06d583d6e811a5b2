"""The fixture models of tests/models, put where SageMaker would unpack them."""

import shutil
import uuid
from pathlib import Path

MODELS = Path(__file__).parent.parent / "models"


def place(kind: str, models_dir: Path) -> str:
    """Copy a fixture model into a container's models folder, under an opaque name, and return the name."""
    name = uuid.uuid4().hex[:16]
    shutil.copytree(MODELS / kind, models_dir / name / "model")
    return name
