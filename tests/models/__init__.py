"""One tiny model per behaviour, each named for what it does."""

import shutil
import uuid
from pathlib import Path

FOLDER = Path(__file__).parent


def place(kind: str, models_dir: Path) -> str:
    """Puts a copy where the platform would unpack it, under an opaque name; gives the name."""
    name = uuid.uuid4().hex[:16]
    shutil.copytree(FOLDER / kind, models_dir / name / "model")
    return name
