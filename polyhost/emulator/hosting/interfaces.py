"""What the parts of the emulator tell one another about hosting; free of AWS's JSON."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

INVOCATION_TIMEOUT_S = (
    60.0  # the response must be complete by then (SageMaker developer guide, your-algorithms-inference-code)
)


@dataclass(frozen=True)
class ContainerSpec:
    """What CreateModel said of the container. `model_data_url` is `s3://BUCKET/KEY` or `file:///PATH`: a prefix (ends
    with `/`) for a multi-model container, else one archive."""

    image: str
    model_data_url: str | None
    multi_model: bool
    environment: Mapping[str, str] = field(default_factory=dict)
    keeps_models: bool = True  # MultiModelConfig.ModelCacheSetting


@dataclass(frozen=True)
class VariantSpec:
    """What CreateEndpointConfig said of a variant, with its model looked up."""

    name: str
    container: ContainerSpec
    instance_type: str
    instance_count: int
    weight: float
    volume_bytes: int
    startup_timeout_s: float = 480.0
    download_timeout_s: float = 3600.0


@dataclass(frozen=True)
class Launch:
    """A container to start. `folder` stands for /opt/ml and holds `models` or `model`."""

    name: str  # unique on this machine, fit for a container's name
    image: str
    environment: Mapping[str, str]
    folder: Path
    multi_model: bool
    memory_bytes: int
    on_line: Callable[[str], None]  # called in the event loop with each line of the container's output, without its end


@dataclass(frozen=True)
class Usage:
    """What a container uses: memory without the page cache that can be dropped, and the processor since its start."""

    memory_bytes: int
    cpu_s: float


class Container(Protocol):
    """A started container."""

    url: str  # http://127.0.0.1:PORT
    models_folder: str  # what the container knows `folder/models` as
    pid: int | None

    async def wait(self) -> int:
        """Its exit status, negative for a signal, once it has ended by itself or by others."""

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, SIGKILL after the grace; returns when nothing of it is left. Can be called again where it was cut
        short."""

    async def kill(self) -> None:
        """SIGKILL, as a crash would."""

    async def usage(self) -> Usage | None:
        """None where that cannot be told."""


class Driver(Protocol):
    """A way to start containers."""

    async def check(self, image: str, multi_model: bool) -> str:
        """The image's digest (or a name that stands for it). Raises ImageError."""

    async def start(self, launch: Launch) -> Container:
        """Returns once the process runs, before it answers /ping. Raises ContainerError. Then, and where it is
        cancelled, it leaves nothing behind."""

    async def sweep(self, folder: Path) -> None:
        """Removes the containers that a killed emulator left; their instances' folders lie in this one."""

    async def close(self) -> None:
        """Frees what the driver itself holds."""


class Relay(Protocol):
    """Takes a good answer piece by piece, as the container sends it."""

    begun: bool

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """From now on the call cannot be repeated. Names of headers are in lower case."""

    async def send(self, piece: bytes) -> None:
        """In order; returns when the next may come."""


@dataclass(frozen=True)
class Call:
    """An invocation on its way to a container. `headers` are those that the contract passes on."""

    body: bytes
    headers: Mapping[str, str]
    target_model: str | None = None
    timeout_s: float = INVOCATION_TIMEOUT_S
    relay: Relay | None = None


@dataclass(frozen=True)
class Answer:
    """What a container answered to /invocations or /models/N/invoke, whatever its status.

    The body is empty where a relay took it.
    """

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    container_us: int  # time of the container's own answer
    waited_us: int = 0  # for download and load
    cache_hit: bool = True
