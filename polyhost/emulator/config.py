"""What the emulator is told when it starts."""

from dataclasses import dataclass
from pathlib import Path

from polyhost.emulator.hosting.interfaces import INVOCATION_TIMEOUT_S

ACCOUNT = "123456789012"  # moto's
DEFAULT_PORT = 4566
DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True)
class EmulatorConfig:
    """`memory_scale` multiplies the instance types' memory. `command` starts a container in place of `polyhost serve`
    (process driver): it gets the contract's environment and the argument `serve`. `timeout_s` is what an invocation may
    take; clients' tests need not wait for SageMaker's minute."""

    port: int = DEFAULT_PORT
    host: str = "127.0.0.1"
    driver: str = "process"
    state: Path | None = None
    memory_scale: float = 1.0
    s3_endpoint: str | None = None
    command: tuple[str, ...] | None = None
    timeout_s: float = INVOCATION_TIMEOUT_S
