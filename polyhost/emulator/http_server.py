"""The emulator's HTTP server: its socket, and uvicorn."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from polyhost.emulator.api.asgi import AsgiApplication
from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.errors import StartError


def listen(config: EmulatorConfig) -> socket.socket:
    """Return a socket at the configured address. Raises StartError."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
    except OSError as error:
        listener.close()
        raise StartError(
            f"cannot listen on {config.host}:{config.port} ({error.strerror}); choose another --port"
        ) from None
    listener.listen(2048)
    return listener


@asynccontextmanager
async def serve_http(app: AsgiApplication, listener: socket.socket) -> AsyncIterator[None]:
    """Serve an application while the block runs."""
    settings = uvicorn.Config(
        app,
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
        timeout_keep_alive=60,
    )
    server = _UvicornServer(settings)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
        if task.done():
            await task
    try:
        yield
    finally:
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await task


class _UvicornServer(uvicorn.Server):
    """uvicorn without its signal handlers: the emulator handles signals, because it has containers to stop first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield
