"""Configuration of the emulator."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ACCOUNT = "123456789012"  # moto's
DEFAULT_PORT = 4566
DEFAULT_REGION = "us-east-1"
# The response must be complete by then (developer guide, your-algorithms-inference-code).
INVOCATION_TIMEOUT_S = 60.0
# AWS does not say how long a serverless endpoint keeps an idle container.
SERVERLESS_IDLE_S = 600.0


@dataclass(frozen=True, kw_only=True)
class EmulatorConfig:
    """What the options of `polyhost emulator` set.

    port: port to listen on; 0 takes a free one.
    host: address to listen on.
    driver: how containers are started, `process` or `docker`.
    state: folder in which models, configurations and endpoints survive a restart, and alarms and what S3, SQS, SNS and
        IAM hold.
    memory_scale: factor on the instance types' memory.
    s3_endpoint: URL of another S3 to download models from.
    image_commands: process driver: what to start for images that match a pattern of shell style, in place of `command`.
    command: process driver: what to start in place of `polyhost serve`, with the environment that SageMaker gives a
        container, and the argument `serve`.
    timeout_s: seconds that an invocation may take; tests of clients need not wait for SageMaker's minute.
    serverless_idle_s: seconds after which an idle container of a serverless endpoint, or an idle environment of a
        function, ends.
    time_scale: factor on the periods of alarms, cool-downs, the waits of deployments and the hours of monitoring
        schedules, at least 0.005: with 0.01 ten minutes pass in 6 s.
    """

    port: int = DEFAULT_PORT
    host: str = "127.0.0.1"
    driver: str = "process"
    state: Path | None = None
    memory_scale: float = 1.0
    s3_endpoint: str | None = None
    command: tuple[str, ...] | None = None
    image_commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    timeout_s: float = INVOCATION_TIMEOUT_S
    serverless_idle_s: float = SERVERLESS_IDLE_S
    time_scale: float = 1.0
