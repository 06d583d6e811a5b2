"""A container's output, line by line."""

import asyncio
from collections.abc import Callable

MAX_LINE = 64 * 1024  # a longer line is handed on in pieces


async def each_line(stream: asyncio.StreamReader, on_line: Callable[[str], None]) -> None:
    """Until the stream ends."""
    rest = b""
    while piece := await stream.read(MAX_LINE):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            on_line(line.decode(errors="replace").rstrip("\r"))
        if len(rest) >= MAX_LINE:
            on_line(rest.decode(errors="replace"))
            rest = b""
    if rest:
        on_line(rest.decode(errors="replace"))
