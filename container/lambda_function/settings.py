"""The container's settings where there is no container: what a function of Lambda changes of them."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from polyhost.container.config import Config, store_secrets
from polyhost.container.errors import ConfigError
from polyhost.container.model_store.preparation import prepare
from polyhost.container.model_store.settings import is_pattern

# Of a request and of a response, as JSON (Lambda developer guide, gettingstarted-limits).
MAX_PAYLOAD_BYTES = 6 << 20
_MEMORY_SIZE = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"  # Lambda sets it
_MB = 1 << 20
_DEFAULTS = {
    # What models could reach beside their own files is the function's, which one account's code shares anyway.
    "POLYHOST_ISOLATION": "off",
    # These make forks cheaper and the start longer. A function starts often, and forks a few times.
    "POLYHOST_DISABLE": "fill-heap prefault",
    "POLYHOST_MEMORY_RESERVE_MB": "32",
}


@dataclass(frozen=True)
class FunctionSettings:
    """`variables` tell credentials; `default_model` is for requests that name none."""

    config: Config
    run_dir: Path
    memory_bytes: int
    variables: Mapping[str, str]
    default_model: str | None

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "FunctionSettings":
        """Read the environment, and make the folder for archives and models' files. Raises ConfigError."""
        config = Config.from_environ({**_DEFAULTS, **environ})
        if config.store is None:
            raise ConfigError(
                "POLYHOST_MODEL_STORE is not set: name the prefix with the archives, such as s3://BUCKET/models/, or a"
                " folder of the image, such as /opt/models"
            )
        # Below /tmp, the one place that a function can write to, and its own.
        run_dir = Path(tempfile.mkdtemp(prefix="polyhost-"))
        store = prepare(config.store, None, run_dir)
        config = replace(
            config,
            state_dir=None,
            max_payload_bytes=min(config.max_payload_bytes, MAX_PAYLOAD_BYTES),
            store=store,
        )
        named = [name for name in store.load_at_start if not is_pattern(name)]
        default = named[0] if len(named) == len(store.load_at_start) == 1 else None
        return cls(config, run_dir, _memory_bytes(environ), store_secrets(environ).variables, default)


def _memory_bytes(environ: Mapping[str, str]) -> int:
    value = environ.get(_MEMORY_SIZE, "")
    if not value.isdecimal():
        raise ConfigError(f"{_MEMORY_SIZE}={value!r}: must be megabytes, as Lambda sets it; this runs as a function")
    return int(value) * _MB
