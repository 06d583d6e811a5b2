"""Which model the fork server is looking at, in a file that outlives it.

The next fork server is told of all models again: of the one that its predecessor has died of, too.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from polyhost.container.errors import ForkServerDiedError

_MOST_DEATHS = 2


class Attempts:
    """Counts, for each model, how often a fork server has died while it opened that model."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)

    @contextlib.contextmanager
    def attempt(self, key: int) -> Iterator[None]:
        """Open a model in this block. Raises ForkServerDiedError if two fork servers have died in it."""
        path = self._folder / str(key)  # a byte for each fork server that has begun
        try:
            with contextlib.suppress(OSError):  # no disk is no reason to fail a load
                with path.open("ab") as file:
                    deaths = file.tell()
                    if deaths < _MOST_DEATHS:
                        file.write(b".")
                if deaths >= _MOST_DEATHS:
                    raise ForkServerDiedError(
                        f"the fork server died {deaths} times while it opened this model, which is not tried again; "
                        "the log says why it died"
                    )
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()
