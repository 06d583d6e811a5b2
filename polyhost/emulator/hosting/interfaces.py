"""Types that the parts of the emulator exchange about hosting; free of AWS's JSON."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from polyhost.emulator.config import INVOCATION_TIMEOUT_S, SERVERLESS_IDLE_S
from polyhost.emulator.hosting.capture_settings import CaptureSettings
from polyhost.emulator.hosting.faults import Faults
from polyhost.emulator.telemetry.recorder import Recorder
from polyhost.emulator.time_scale import TimeScale
from polyhost.model_cache.downloads import ModelSource


class Execution(StrEnum):
    """How the containers of a model are called (botocore, InferenceExecutionMode)."""

    SERIAL = "Serial"
    DIRECT = "Direct"


@dataclass(frozen=True)
class ContainerSpec:
    """A container as CreateModel describes it; `name` tells it from the others of its model, and is empty without.

    `model_data_url` is `s3://BUCKET/KEY` or `file:///PATH`: a prefix that ends with `/` for a multi-model container,
    else one archive.
    """

    image: str
    model_data_url: str | None
    multi_model: bool
    environment: Mapping[str, str] = field(default_factory=dict)
    keeps_models: bool = True  # MultiModelConfig.ModelCacheSetting
    name: str = ""


@dataclass(frozen=True)
class ServerlessCapacity:
    """What a serverless variant may use: megabytes of memory for each container, and calls at the same time.

    `provisioned` containers are kept warm; it is not above `max_concurrency`.
    """

    memory_mb: int
    max_concurrency: int
    provisioned: int = 0


@dataclass(frozen=True)
class VariantSpec:
    """A variant as CreateEndpointConfig describes it, with its model looked up.

    A variant with `serverless` has no instances: its type is empty, and its count 0.
    """

    name: str
    containers: tuple[ContainerSpec, ...]
    instance_type: str
    instance_count: int
    weight: float
    volume_bytes: int
    startup_timeout_s: float = 480.0
    download_timeout_s: float = 3600.0
    execution: Execution = Execution.SERIAL
    shadow: bool = False  # gets copies of the production variant's invocations
    serverless: ServerlessCapacity | None = None
    capture: CaptureSettings | None = None  # the same for all variants of an endpoint configuration

    @property
    def direct(self) -> bool:
        return self.execution is Execution.DIRECT

    def container_for(self, name: str | None) -> ContainerSpec | None:
        """Return the container that gets TargetModel: the one of this name, or a pipeline's multi-model one."""
        if self.direct:
            return next((container for container in self.containers if container.name == name), None)
        return next((container for container in self.containers if container.multi_model), self.containers[0])


@dataclass(frozen=True)
class Launch:
    """A container to start. `folder` stands for /opt/ml and has `models` or `model` in it.

    `owner` names the emulator's run folder. If the instance has several containers, they have the same `shared_with`,
    the memory limit is for all of them, and `hostname` is the container's name.
    """

    name: str  # unique on this machine, and a valid name of a Docker container
    image: str
    environment: Mapping[str, str]
    folder: Path
    multi_model: bool
    memory_bytes: int
    on_line: Callable[[str], None]  # called in the event loop with each line of output, without its line feed
    owner: str = ""
    shared_with: str = ""
    hostname: str = ""
    region: str = ""


@dataclass(frozen=True)
class ResourceUsage:
    """What a container uses: memory without the page cache that can be dropped, and CPU time since its start."""

    memory_bytes: int
    cpu_s: float


class Container(Protocol):
    """A container that was started. It may have ended by now."""

    url: str  # http://127.0.0.1:PORT
    models_folder: str  # the path of `folder/models` as the container sees it
    pid: int | None

    async def wait(self) -> int:
        """Return the exit status, negative for a signal, once the container has ended."""

    async def stop(self, grace_s: float) -> None:
        """Send SIGTERM, and SIGKILL after the grace period; return when no process is left.

        Can be called again after it was cancelled.
        """

    async def kill(self) -> None:
        """Send SIGKILL, as a crash would."""

    async def usage(self) -> ResourceUsage | None:
        """Return what it uses, or None if that cannot be measured."""


class Driver(Protocol):
    """A way to start containers."""

    limits_together: bool  # whether it limits the memory of the containers of one instance together

    async def check(self, image: str, multi_model: bool, among_others: bool = False) -> str:
        """Return the image's digest, or a name in its place. Raises ImageError.

        `among_others` says that an instance has other containers too, so that its port must be one of its own.
        """

    async def start(self, launch: Launch) -> Container:
        """Return once the process runs, before it answers /ping.

        Raises ContainerError. If it does, or is cancelled, it leaves nothing behind.
        """

    async def sweep(self, folder: Path) -> None:
        """Remove the containers that a killed emulator left; the folders of their instances are in this one."""

    async def close(self) -> None:
        """Release what the driver itself has open."""


AlarmStates = Callable[[str, Iterable[str]], Mapping[str, str | None]]


def _no_alarms(region: str, names: Iterable[str]) -> Mapping[str, str | None]:
    return dict.fromkeys(names)


@dataclass(frozen=True)
class Platform:
    """What every endpoint needs of the emulator; `folder` is where instances have their disks.

    `alarm_states` returns the states of alarms by region and names, None for those that do not exist. It blocks.
    """

    driver: Driver
    source: ModelSource
    recorder: Recorder
    faults: Faults
    http: aiohttp.ClientSession
    folder: Path
    memory_scale: float = 1.0
    serverless_idle_s: float = SERVERLESS_IDLE_S
    time_scale: TimeScale = field(default_factory=TimeScale)
    alarm_states: AlarmStates = _no_alarms


class Relay(Protocol):
    """A receiver of a successful response, chunk by chunk, as the container sends it."""

    started: bool

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Receive the head. From now on the invocation cannot be repeated. Names of headers are in lower case."""

    async def send(self, chunk: bytes) -> None:
        """Receive the next chunk; return when another may come."""


@dataclass(frozen=True)
class InvocationRequest:
    """An invocation on its way to a container. `headers` are those that SageMaker passes on."""

    body: bytes
    headers: Mapping[str, str]
    target_model: str | None = None
    target_container: str | None = None
    timeout_s: float = INVOCATION_TIMEOUT_S
    relay: Relay | None = None
    body_file: Path | None = None  # has the body in place of `body`, because it may be larger than memory
    chunked: bool = False  # the file is sent by chunked coding


class VariantFleet(Protocol):
    """What serves a variant's invocations: instances, or serverless containers."""

    spec: VariantSpec
    successor: "VariantFleet | None"  # gets the invocations that come when it has no instances any more

    @property
    def instance_count(self) -> int:
        """The number of instances, 0 for a serverless variant."""

    async def start(self) -> None:
        """Return when it can serve. Raises the first error, and then leaves nothing behind."""

    async def stop(self, drain_s: float) -> None:
        """End all containers; invocations may end within the drain time."""

    def hurry(self) -> None:
        """Let a stop not wait for invocations."""

    async def invoke(self, request: "InvocationRequest") -> "ContainerResponse":
        """Return a container's response. Raises ThrottlingException, ModelNotReady and ModelServingError."""

    async def snapshot(self) -> list[dict[str, Any]]:
        """Describe the instances in JSON."""


@dataclass(frozen=True)
class ContainerResponse:
    """What a container answered, whatever the status. The body is empty if a relay received it.

    `container` is the name of the container among several.
    """

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    container_us: int  # time until the container had answered
    waited_us: int = 0  # for download and load
    cache_hit: bool = True
    container: str = ""
