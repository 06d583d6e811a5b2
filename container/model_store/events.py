"""The latest events of a model store, for the page."""

import time
from collections import deque
from typing import Any

_KEPT = 1000


class StoreEvents:
    """Numbers events from 1 on, and keeps the latest, in the form of the emulator's events."""

    def __init__(self) -> None:
        self._kept: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._count = 0

    def add(self, kind: str, model: str, message: str, seconds: float | None = None) -> None:
        """Keep an event; `kind` is one of the emulator's EventKind."""
        self._count += 1
        self._kept.append(
            {
                "kind": kind,
                "place": {"endpoint": "", "instance": ""},
                "message": message,
                "model": model,
                "ms": None if seconds is None else seconds * 1e3,
                "at": time.time(),
            }
        )

    def since(self, number: int) -> tuple[list[dict[str, Any]], int]:
        """Return those after the event of this number, and the number of the last one."""
        fresh = min(self._count - number, len(self._kept))
        return (list(self._kept)[-fresh:] if fresh else []), self._count
