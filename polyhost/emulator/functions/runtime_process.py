"""What an execution environment needs of whatever runs its function: a process of this machine, or a container."""

import signal
from dataclasses import dataclass
from typing import Protocol

from polyhost.emulator.functions.environment_place import EnvironmentPlace
from polyhost.emulator.functions.spec import FunctionSpec


@dataclass(frozen=True)
class RuntimeLinks:
    """What ties a runtime to its environment: the runtime interface, its log's stream, and the log's descriptor."""

    api_address: str
    log_stream: str
    output: int


class RuntimeProcess(Protocol):
    """A function's runtime, with all processes that it has started."""

    async def wait(self) -> str:
        """Return how the runtime ended, in Lambda's words, once it has."""

    async def memory_bytes(self) -> int:
        """Return what its processes occupy now."""

    async def flush(self) -> None:
        """Return when what it has printed before is in its log, as far as one can tell."""

    async def stop(self) -> None:
        """Kill all processes, and return when none is left."""


class RuntimeStarter(Protocol):
    """Starts the runtime of one version of a function."""

    async def start(self, spec: FunctionSpec, place: EnvironmentPlace, links: RuntimeLinks) -> RuntimeProcess:
        """Start it, with nothing left over if that fails. Raises ContainerError and OSError."""


def how_ended(status: int) -> str:
    """Say it in Lambda's words."""
    if status == 0:
        return "Runtime exited without providing a reason"
    number = -status if status < 0 else status - 128  # a shell's exit status for a signal
    if 0 < number < signal.NSIG:
        return f"Runtime exited with error: signal: {(signal.strsignal(number) or str(number)).lower()}"
    return f"Runtime exited with error: exit status {status}"
