"""Lines of a container's output."""

import asyncio
from collections.abc import Callable

_MAX_LINE_BYTES = 64 * 1024  # a longer line is passed on in parts


async def each_line(stream: asyncio.StreamReader, on_line: Callable[[str], None]) -> None:
    """Call `on_line` with each line, without its end, until the stream ends."""
    rest = b""
    while chunk := await stream.read(_MAX_LINE_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            on_line(line.decode(errors="replace").rstrip("\r"))
        if len(rest) >= _MAX_LINE_BYTES:
            on_line(rest.decode(errors="replace"))
            rest = b""
    if rest:
        on_line(rest.decode(errors="replace"))
