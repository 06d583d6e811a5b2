"""The emulator as a whole: put together, started, and stopped without a trace."""

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import uvicorn
import uvloop
from starlette.routing import Router

from polyhost.emulator import aws
from polyhost.emulator.api.access import Callers
from polyhost.emulator.api.app import App
from polyhost.emulator.api.control import Control
from polyhost.emulator.api.runtime import Runtime
from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.errors import EmulatorError, StartError
from polyhost.emulator.hosting.container_client import session
from polyhost.emulator.hosting.downloads import ModelSource
from polyhost.emulator.hosting.drivers.docker import DockerDriver
from polyhost.emulator.hosting.drivers.process import ProcessDriver
from polyhost.emulator.hosting.faults import Faults
from polyhost.emulator.hosting.instance import Platform
from polyhost.emulator.hosting.interfaces import Driver
from polyhost.emulator.run_dir import workplace
from polyhost.emulator.telemetry.cloudwatch import CloudWatch
from polyhost.emulator.telemetry.container_logs import ContainerLogs
from polyhost.emulator.telemetry.prometheus import Prometheus
from polyhost.emulator.telemetry.recorder import Recorder
from polyhost.emulator.telemetry.sampler import Sampler
from polyhost.emulator.ui.pages import page_routes
from polyhost.emulator.ui.state_api import Admin

START_S = 60.0
STOP_S = 15.0

logger = logging.getLogger("polyhost.emulator")


@asynccontextmanager
async def running(config: EmulatorConfig) -> AsyncIterator[str]:
    """The emulator's address, while the block runs. Raises StartError."""
    if config.s3_endpoint is not None:
        _check_endpoint(config.s3_endpoint)
    listener = _listen(config)
    address, port = listener.getsockname()
    url = f"http://{config.host}:{port}"
    callers = Callers(config.host, loopback=address.startswith("127."))
    recorder, faults = Recorder(), Faults()
    if (endpoint := config.s3_endpoint) is not None:
        source = ModelSource(partial(aws.foreign_s3, endpoint=endpoint))
    else:
        source = ModelSource(partial(aws.client, "s3", own_url=url))
    try:
        async with (
            _driver(config) as driver,
            workplace(driver, config.driver) as folder,
            session() as http,
        ):
            platform = Platform(driver, source, recorder, faults, http, folder, config.memory_scale)
            control = Control(platform, config.state)
            prometheus = Prometheus(recorder)
            own = Router([*Admin(control, recorder, faults).routes(), *prometheus.routes(), *page_routes()])
            app = App(control, Runtime(control, recorder, faults, config.timeout_s), own, aws.application(), callers)
            tellers = (CloudWatch(recorder, url), ContainerLogs(recorder, url), Sampler(control, recorder))
            async with _serving(app, listener):
                tasks = [asyncio.create_task(teller.run()) for teller in tellers]
                try:
                    await control.open()
                    yield url
                finally:
                    await control.close()
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        listener.close()


async def serve(config: EmulatorConfig, on_ready: Callable[[str], None]) -> None:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(config) as url:
        on_ready(url)
        await stop.wait()


class Emulator:
    """In a thread of its own, for tests and programs: `with Emulator(config) as emulator: emulator.url`."""

    def __init__(self, config: EmulatorConfig) -> None:
        self._config = config
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="polyhost-emulator", daemon=True)
        self.url = ""

    def __enter__(self) -> "Emulator":
        self._thread.start()
        if not self._ready.wait(START_S):
            raise StartError(f"the emulator did not start within {START_S:.0f} s")
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None and self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STOP_S)
        if self._thread.is_alive():
            raise EmulatorError(f"the emulator did not stop within {STOP_S:.0f} s; its containers may still run")
        if self._error is not None:
            raise self._error

    def client(self, service: str, region: str) -> Any:
        """A boto3 client for it."""
        return aws.client(service, region, self.url)

    def _run(self) -> None:
        try:
            uvloop.run(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with running(self._config) as self.url:
            self._ready.set()
            await self._stop.wait()


@asynccontextmanager
async def _driver(config: EmulatorConfig) -> AsyncIterator[Driver]:
    driver: Driver
    if config.driver == "process":
        driver = ProcessDriver(config.command)
    elif config.driver == "docker":
        driver = docker = DockerDriver()
        await docker.open()
    else:
        raise StartError(f"there is no driver {config.driver!r}; use process or docker")
    try:
        yield driver
    finally:
        await driver.close()


def _check_endpoint(url: str) -> None:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise StartError(f"{url!r} is no address of an S3; give --s3-endpoint as http://HOST:PORT or https://HOST")


def _listen(config: EmulatorConfig) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
    except OSError as error:
        listener.close()
        raise StartError(
            f"{config.host}:{config.port} cannot be listened on ({error.strerror}); choose another --port"
        ) from None
    listener.listen(2048)
    return listener


@asynccontextmanager
async def _serving(app: App, listener: socket.socket) -> AsyncIterator[None]:
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
    server = _Server(settings)
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


class _Server(uvicorn.Server):
    """Signals are for the emulator, which has containers to end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield
