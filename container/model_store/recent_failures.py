"""Versions that could not be loaded a moment ago: callers in a row do not have them fetched again and again."""

import time
from collections import OrderedDict

from polyhost.model_cache.errors import LoadRejectedError, ModelDataInvalidError, ModelServingError

_KEPT_S = 5.0
_MAX_KEPT = 1000
_NO_ROOM = 507


class RecentFailures:
    """The failures that are the version's own, for some seconds."""

    def __init__(self, kept_s: float = _KEPT_S) -> None:
        self._kept_s = kept_s
        self._failures: OrderedDict[str, tuple[float, ModelServingError]] = OrderedDict()

    def add(self, version_id: str, error: ModelServingError) -> None:
        """Keep the failure if loading the same files again would meet it again."""
        own = isinstance(error, ModelDataInvalidError)
        if own or (isinstance(error, LoadRejectedError) and error.status != _NO_ROOM):
            self._failures.setdefault(version_id, (time.monotonic() + self._kept_s, error))
            while len(self._failures) > _MAX_KEPT:
                self._failures.popitem(last=False)

    def check(self, version_id: str) -> None:
        """Raise the failure of this version if it is recent."""
        if version_id in self._failures:
            until, error = self._failures[version_id]
            if time.monotonic() < until:
                raise error.with_traceback(None)  # it would grow with each raise
            del self._failures[version_id]
