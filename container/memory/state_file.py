"""What the container keeps across restarts, in POLYHOST_STATE_DIR."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from polyhost.events import get_logger

logger = get_logger(__name__)

T = TypeVar("T")


class StateFile(Generic[T]):
    """A JSON object by names. One that cannot be read counts as empty, and the container learns anew."""

    def __init__(self, path: Path | None, convert: Callable[[Any], T]) -> None:
        """`convert`: from JSON; raises ValueError or TypeError for what it does not know."""
        self.changed = False  # whether there is something to save
        self._path = path
        self._convert = convert

    def read(self) -> dict[str, T]:
        """Return what was saved last."""
        try:
            known = json.loads(self._path.read_text()) if self._path is not None else {}
            return {str(key): self._convert(value) for key, value in known.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def save(self, values: Callable[[], Mapping[str, Any]]) -> None:
        """Write the file atomically, if there is something new. If that fails, it is not tried again."""
        if not self.changed or self._path is None:
            return
        self.changed = False
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new = self._path.with_suffix(f".{os.getpid()}")
            new.write_text(json.dumps(values()))
            new.replace(self._path)
        except OSError as error:
            logger.warning("cannot save what is known of models' memory to %s: %s", self._path, error)
            self._path = None
