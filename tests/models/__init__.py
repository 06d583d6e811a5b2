"""One small model per behaviour, each named for what it does."""

from tests.support.models import MODELS as FOLDER
from tests.support.models import place

__all__ = ["FOLDER", "place"]
