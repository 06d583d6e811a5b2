"""A container's response, written to a file as it arrives: it may be larger than memory."""

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Self


class ResponseFile:
    """A `Relay` into a file, for a `with` block; `path` has the whole response after `finish`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.started = False
        self.content_type: str | None = None
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        self.started = True
        self.content_type = headers.get("content-type")
        self._file = self.path.open("wb")

    async def send(self, chunk: bytes) -> None:
        assert self._file is not None
        self._file.write(chunk)

    def finish(self) -> None:
        """Have everything in the file. Raises OSError, for example if the disk is full."""
        assert self._file is not None
        self._file.close()
