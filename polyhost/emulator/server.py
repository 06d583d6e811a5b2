"""The emulator as a whole: started, and stopped so that nothing of it is left running."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from typing import Any, Self
from urllib.parse import urlsplit

import uvloop

from polyhost.emulator import aws_clients
from polyhost.emulator.alarms.service import ALARMS, Alarms
from polyhost.emulator.api.access import AccessPolicy
from polyhost.emulator.async_inference.invocation_store import InvocationStore
from polyhost.emulator.autoscaling.service import SCALING, AutoScaling
from polyhost.emulator.autoscaling.triggers import is_policy
from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.errors import EmulatorError, StartError
from polyhost.emulator.functions.event_sink import EVENTS, EventSink
from polyhost.emulator.functions.images import IMAGES, FunctionImages
from polyhost.emulator.functions.saved_records import saved_records
from polyhost.emulator.hosting.container_client import session
from polyhost.emulator.hosting.drivers.docker import DockerDriver
from polyhost.emulator.hosting.drivers.process import ProcessDriver
from polyhost.emulator.hosting.faults import Faults
from polyhost.emulator.hosting.interfaces import Driver, Platform
from polyhost.emulator.http_server import listen
from polyhost.emulator.moto_services.app import MotoServices
from polyhost.emulator.moto_services.bodies import BodyLimits
from polyhost.emulator.moto_services.state.moto_state import MotoState, restored_moto_state
from polyhost.emulator.run_dir import run_dir
from polyhost.emulator.services import run_services
from polyhost.emulator.state_folder import locked_state_folder
from polyhost.emulator.telemetry.recorder import Recorder
from polyhost.emulator.time_scale import TimeScale
from polyhost.model_cache.downloads import ModelSource
from polyhost.model_cache.s3 import S3Store

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 15.0


@asynccontextmanager
async def run_emulator(config: EmulatorConfig) -> AsyncIterator[str]:
    """Run an emulator while the block runs, and yield its URL. Raises StartError."""
    if config.s3_endpoint is not None:
        _check_s3_endpoint(config.s3_endpoint)
    scale = TimeScale.of_option(config.time_scale)
    listener = listen(config)
    address, port = listener.getsockname()
    url = f"http://{config.host}:{port}"
    access = AccessPolicy(config.host, loopback=address.startswith("127."))
    recorder, faults = Recorder(), Faults()
    try:
        with (
            locked_state_folder(config.state),
            restored_moto_state(config.state) as state,
            closing(InvocationStore(config.state)) as invocations,
            saved_records(config.state) as saved,
        ):
            async with (
                _driver(config, url) as driver,
                run_dir(driver, config.driver) as folder,
                session() as http,
            ):
                s3 = aws_clients.S3Clients(url, config.s3_endpoint)
                source = ModelSource(lambda region: S3Store(s3.of(region)))
                alarms = Alarms(recorder, url, _saving(state, "cloudwatch"), is_policy)
                scaling = AutoScaling(alarms, recorder, scale, _saving(state, "applicationautoscaling"))
                if state is not None:
                    alarms.claim_restored()
                platform = Platform(
                    driver=driver,
                    source=source,
                    recorder=recorder,
                    faults=faults,
                    http=http,
                    folder=folder,
                    memory_scale=config.memory_scale,
                    serverless_idle_s=config.serverless_idle_s,
                    time_scale=scale,
                    alarm_states=alarms.states,
                )
                sink = EventSink()
                parts = {ALARMS: alarms, SCALING: scaling, EVENTS: sink, IMAGES: FunctionImages.of(driver)}
                moto = MotoServices(BodyLimits(), state, parts)
                async with run_services(
                    config, platform, invocations, saved, s3, moto, sink, scaling, listener, access, url
                ):
                    yield url
    finally:
        listener.close()


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


def _saving(state: MotoState | None, service: str) -> Callable[[], None]:
    """Return what saves a change of the emulator's own in a service."""
    return partial(state.save_own_change, service) if state is not None else lambda: None


@asynccontextmanager
async def _driver(config: EmulatorConfig, url: str) -> AsyncIterator[Driver]:
    driver: Driver
    if config.driver == "process":
        # Another S3 takes the credentials of the emulator's own environment, which containers do not get.
        driver = ProcessDriver(config.command, config.image_commands, None if config.s3_endpoint else url)
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
