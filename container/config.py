"""The container's settings: the only reader of the environment in container/. docs/configuration.md lists them."""

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from polyhost.container.errors import ConfigError
from polyhost.handlers import lookup
from polyhost.handlers.errors import BadSettingError
from polyhost.handlers.settings import Settings

_MB = 1024 * 1024
_MOST = 1_000_000  # of what is counted: calls


class Optimization(StrEnum):
    """What POLYHOST_DISABLE can switch off, to measure what it gains (`scripts/bench --ablation`)."""

    FILL_HEAP = "fill-heap"
    HEADER_CACHE = "header-cache"
    BURSTS = "bursts"


@dataclass(frozen=True)
class Config:
    """Read once in the entry point and handed down, as JSON, to the processes that it starts."""

    port: int
    base_dir: str
    multi_model: bool
    handler: str
    workers: int | None
    response_timeout_s: int
    load_timeout_s: int
    max_payload_bytes: int
    vmargs: str | None
    log_json: bool
    log_level: int
    run_dir: str | None
    preload: tuple[str, ...]
    zygotes: tuple[str, ...] | None
    memory_reserve_bytes: int | None
    max_workers: int
    state_dir: str | None
    visible_gpus: str | None
    native: bool
    queue_size: int
    batch_size: int
    batch_delay_ms: int
    finish_s: int
    disabled: tuple[str, ...]

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Config":
        """Raises ConfigError, which names the variable, its value and what it may be."""
        read = _Reader(environ)
        native = read("POLYHOST_FRONTEND", _one_of("mms", "native"), "mms") == "native"
        read("SAGEMAKER_STARTUP_TIMEOUT", _positive, None)  # the toolkit's own, which would end in a traceback
        try:
            Settings.from_environ(environ)  # the handlers', which every load would fail by
        except BadSettingError as error:
            raise ConfigError(str(error)) from None
        return cls(
            port=read("SAGEMAKER_BIND_TO_PORT", _any_port if native else _port, 8080),
            base_dir=read("SAGEMAKER_BASE_DIR", str, "/opt/ml"),
            # Presence of anything but "true" means single-model: the toolkit compares with "true" as well.
            multi_model=read("SAGEMAKER_MULTI_MODEL", str, "false") == "true",
            handler=read("SAGEMAKER_HANDLER", lookup.canonical, lookup.SERVICE),
            workers=read("SAGEMAKER_MODEL_SERVER_WORKERS", _positive, None),
            response_timeout_s=read("SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS", _positive, 60),
            load_timeout_s=read("POLYHOST_LOAD_TIMEOUT_SECONDS", _positive, 300),
            max_payload_bytes=read("SAGEMAKER_MAX_REQUEST_SIZE", _payload_mb, 25) * _MB,
            vmargs=read("SAGEMAKER_MODEL_SERVER_VMARGS", str, None),
            log_json=read("POLYHOST_LOG_FORMAT", _one_of("json", "text"), "json") == "json",
            log_level=read("SAGEMAKER_CONTAINER_LOG_LEVEL", _log_level, logging.INFO),
            run_dir=read("POLYHOST_RUN_DIR", str, None),
            preload=read("POLYHOST_PRELOAD", _words, ()),
            zygotes=read("POLYHOST_ZYGOTES", _words, None),
            memory_reserve_bytes=read("POLYHOST_MEMORY_RESERVE_MB", _megabytes, None),
            max_workers=read("POLYHOST_MAX_WORKERS", _positive, len(os.sched_getaffinity(0))),
            state_dir=read("POLYHOST_STATE_DIR", str, "/var/lib/polyhost"),
            visible_gpus=environ.get("CUDA_VISIBLE_DEVICES"),  # empty means none, and not absent
            native=native,
            queue_size=read("POLYHOST_QUEUE_SIZE", _count, 100),
            batch_size=read("POLYHOST_BATCH_SIZE", _count, 1),
            batch_delay_ms=read("POLYHOST_BATCH_DELAY_MS", _milliseconds, 0),
            finish_s=read("POLYHOST_FINISH_SECONDS", _positive, 6),
            disabled=read("POLYHOST_DISABLE", _optimizations, ()),
        )

    def enabled(self, optimization: Optimization) -> bool:
        return optimization not in self.disabled

    @property
    def models_dir(self) -> Path:
        """Where SageMaker unpacks models: many folders below models/, or the one model itself in model/."""
        return Path(self.base_dir) / ("models" if self.multi_model else "model")

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Config":
        values = json.loads(text)
        for name in ("preload", "zygotes", "disabled"):
            values[name] = tuple(values[name]) if values[name] is not None else None
        return cls(**{item.name: values[item.name] for item in fields(cls)})


class _Reader:
    """Reads and converts one variable at a time; an empty one counts as absent, as `docker run -e X=` leaves it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __call__(self, name: str, convert: Callable[[str], Any], default: Any) -> Any:
        value = self._environ.get(name, "").strip()
        if not value:
            return default
        try:
            return convert(value)
        except ValueError as error:
            raise ConfigError(f"{name}={value!r}: {error}") from None


def _positive(value: str) -> int:
    if not value.isdecimal() or int(value) == 0:
        raise ValueError("must be a whole number above 0")
    return int(value)


def _port(value: str) -> int:
    # Connector.java refuses ports from 32767 on.
    if not value.isdecimal() or not 0 < int(value) < 32767:
        raise ValueError("must be a port from 1 to 32766 (Multi Model Server takes none above)")
    return int(value)


def _count(value: str) -> int:
    count = _positive(value)
    if count > _MOST:
        raise ValueError(f"must be a whole number from 1 to {_MOST}")
    return count


def _any_port(value: str) -> int:
    if not value.isdecimal() or not 0 < int(value) <= 65535:
        raise ValueError("must be a port from 1 to 65535")
    return int(value)


def _milliseconds(value: str) -> int:
    if not value.isdecimal():
        raise ValueError("must be a whole number of milliseconds")
    return int(value)


def _payload_mb(value: str) -> int:
    megabytes = _positive(value)
    if megabytes > 2047:
        raise ValueError("must be megabytes from 1 to 2047 (Multi Model Server counts bytes in 32 bits)")
    return megabytes


def _megabytes(value: str) -> int:
    return _positive(value) * _MB


def _words(value: str) -> tuple[str, ...]:
    return tuple(value.replace(",", " ").split())


def _optimizations(value: str) -> tuple[str, ...]:
    known = tuple(map(str, Optimization))
    if not set(_words(value)) <= set(known):
        raise ValueError(f"must be any of {', '.join(known)}")
    return _words(value)


def _one_of(*choices: str) -> Callable[[str], str]:
    def convert(value: str) -> str:
        if value.lower() not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value.lower()

    return convert


def _log_level(value: str) -> int:
    """A number, as SageMaker's SDK sends it ("20"), or a name."""
    level = int(value) if value.isdecimal() else logging.getLevelNamesMapping().get(value.upper())
    if level is None:
        raise ValueError("must be a level of Python's logging, such as 20 or INFO")
    return level
