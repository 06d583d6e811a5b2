"""The emulator as a whole: assembled, started, and stopped so that nothing of it is left running."""

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import urlsplit

import uvicorn
import uvloop
from starlette.routing import Router

from polyhost.emulator import aws_clients
from polyhost.emulator.api.access import AccessPolicy
from polyhost.emulator.api.app import EmulatorApp
from polyhost.emulator.api.control_plane.dispatcher import ControlPlane
from polyhost.emulator.api.control_plane.endpoint_registry import EndpointRegistry
from polyhost.emulator.api.control_plane.store import ResourceStore
from polyhost.emulator.api.runtime import Runtime
from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.errors import EmulatorError, StartError
from polyhost.emulator.hosting.container_client import session
from polyhost.emulator.hosting.drivers.docker import DockerDriver
from polyhost.emulator.hosting.drivers.process import ProcessDriver
from polyhost.emulator.hosting.faults import Faults
from polyhost.emulator.hosting.interfaces import Driver, Platform
from polyhost.emulator.moto_services.app import MotoServices
from polyhost.emulator.moto_services.bodies import BodyLimits
from polyhost.emulator.run_dir import run_dir
from polyhost.emulator.telemetry.cloudwatch import CloudWatchPublisher
from polyhost.emulator.telemetry.container_logs import ContainerLogPublisher
from polyhost.emulator.telemetry.prometheus import PrometheusExporter
from polyhost.emulator.telemetry.recorder import Recorder
from polyhost.emulator.telemetry.sampler import InstanceSampler
from polyhost.emulator.ui.dashboard import dashboard_routes
from polyhost.emulator.ui.state_api import StateApi
from polyhost.model_cache.downloads import ModelSource
from polyhost.model_cache.s3 import S3Store

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 15.0

logger = logging.getLogger(__name__)


@asynccontextmanager
async def run_emulator(config: EmulatorConfig) -> AsyncIterator[str]:
    """Run an emulator while the block runs, and yield its URL. Raises StartError."""
    if config.s3_endpoint is not None:
        _check_s3_endpoint(config.s3_endpoint)
    listener = _listen(config)
    address, port = listener.getsockname()
    url = f"http://{config.host}:{port}"
    access = AccessPolicy(config.host, loopback=address.startswith("127."))
    recorder, faults = Recorder(), Faults()
    try:
        async with (
            _driver(config) as driver,
            run_dir(driver, config.driver) as folder,
            session() as http,
        ):
            source = _model_source(config, url)
            platform = Platform(driver, source, recorder, faults, http, folder, config.memory_scale)
            async with _run_services(config, platform, listener, access, url):
                yield url
    finally:
        listener.close()


@asynccontextmanager
async def _run_services(
    config: EmulatorConfig, platform: Platform, listener: socket.socket, access: AccessPolicy, url: str
) -> AsyncIterator[None]:
    """Serve the API and the dashboard, publish telemetry, and run the endpoints of the saved state."""
    recorder, faults = platform.recorder, platform.faults
    store = ResourceStore(config.state)
    registry = EndpointRegistry(platform, store)
    control_plane = ControlPlane(platform.driver, store, registry)
    runtime = Runtime(registry, recorder, faults, config.timeout_s)
    prometheus = PrometheusExporter(recorder)
    state_api = StateApi(registry.all, recorder, faults)
    own = Router([*state_api.routes(), *prometheus.routes(), *dashboard_routes()])
    app = EmulatorApp(control_plane, runtime, own, MotoServices(BodyLimits()), access)
    background = (
        CloudWatchPublisher(recorder, url),
        ContainerLogPublisher(recorder, url),
        InstanceSampler(registry.all, recorder),
    )
    async with _serve_http(app, listener):
        tasks = [asyncio.create_task(work.run()) for work in background]
        try:
            registry.restore()
            yield
        finally:
            # Endpoints first: what they record while they stop is still published.
            control_plane.close()
            await registry.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def serve(config: EmulatorConfig, on_ready: Callable[[str], None]) -> None:
    """Run an emulator until SIGTERM or SIGINT; `on_ready` gets its URL. Raises StartError."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with run_emulator(config) as url:
        on_ready(url)
        await stop.wait()


class Emulator:
    """An emulator in a thread, for tests and programs: `with Emulator(config) as emulator: emulator.url`."""

    def __init__(self, config: EmulatorConfig) -> None:
        self._config = config
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="polyhost-emulator", daemon=True)
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(_START_TIMEOUT_S):
            raise StartError(f"the emulator did not start within {_START_TIMEOUT_S:.0f} s")
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None and self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_STOP_TIMEOUT_S)
        if self._thread.is_alive():
            raise EmulatorError(
                f"the emulator did not stop within {_STOP_TIMEOUT_S:.0f} s; its containers may still be running"
            )
        if self._error is not None:
            raise self._error

    def client(self, service: str, region: str) -> Any:
        """Return a boto3 client of one of the emulator's services, with dummy credentials."""
        return aws_clients.client(service, region, self.url)

    def _run(self) -> None:
        try:
            uvloop.run(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with run_emulator(self._config) as self.url:
            self._ready.set()
            await self._stop.wait()


def _model_source(config: EmulatorConfig, own_url: str) -> ModelSource:
    def store(region: str) -> S3Store:
        if config.s3_endpoint is not None:
            return S3Store(aws_clients.external_s3_client(region, config.s3_endpoint))
        return S3Store(aws_clients.client("s3", region, own_url))

    return ModelSource(store)


@asynccontextmanager
async def _driver(config: EmulatorConfig) -> AsyncIterator[Driver]:
    driver: Driver
    if config.driver == "process":
        driver = ProcessDriver(config.command, config.image_commands)
    elif config.driver == "docker":
        driver = docker = DockerDriver()
        await docker.open()
    else:
        raise StartError(f"unknown driver {config.driver!r}; use process or docker")
    try:
        yield driver
    finally:
        await driver.close()


def _check_s3_endpoint(url: str) -> None:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise StartError(f"invalid S3 endpoint {url!r}; give --s3-endpoint as http://HOST:PORT or https://HOST")


def _listen(config: EmulatorConfig) -> socket.socket:
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
async def _serve_http(app: EmulatorApp, listener: socket.socket) -> AsyncIterator[None]:
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
