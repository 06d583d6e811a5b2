"""The limits of each process of a model (getrlimit(2))."""

import resource
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds that no ordinary model reaches. None: as the container has it."""

    descriptors: int | None = None
    file_bytes: int | None = None

    def enter(self) -> None:
        """Set the limits for this process and what it will start; they cannot be raised again without privileges."""
        lower(resource.RLIMIT_CORE, 0)  # a core dump would hold requests
        lower(resource.RLIMIT_NOFILE, self.descriptors)
        lower(resource.RLIMIT_FSIZE, self.file_bytes)


def lower(limit: int, value: int | None) -> None:
    """Set a limit, unless it is lower already; None leaves it as it is."""
    hard = resource.getrlimit(limit)[1]
    if value is not None and (hard == resource.RLIM_INFINITY or value < hard):
        resource.setrlimit(limit, (value, value))
