"""The models in one machine's memory: those used longest ago go first."""

from collections import OrderedDict


class LruMemory:
    """Models of given sizes within a limit, least recently used first."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self.evictions = 0
        self._sizes: OrderedDict[str, int] = OrderedDict()

    def use(self, model: str, size: int) -> bool:
        """Use a model and return whether it was there; if not, it comes in, and others leave until it fits.

        The size is not above the limit.
        """
        if model in self._sizes:
            self._sizes.move_to_end(model)
            return True
        while self.used_bytes + size > self.limit_bytes:
            _, freed = self._sizes.popitem(last=False)
            self.used_bytes -= freed
            self.evictions += 1
        self._sizes[model] = size
        self.used_bytes += size
        return False

    @property
    def models(self) -> list[str]:
        """The models that are there, least recently used first."""
        return list(self._sizes)
