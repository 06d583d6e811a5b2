"""The container's settings: the only reader of the environment in container/. docs/configuration.md lists them."""

import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from polyhost.cgroup import usable_processors
from polyhost.container import withhold
from polyhost.container.errors import ConfigError
from polyhost.container.isolation.shared_folders import CACHE_VARIABLES, SHARED_FOLDERS, shared_folders
from polyhost.container.layers import index
from polyhost.container.model_store.secrets import StoreSecrets
from polyhost.container.model_store.settings import StoreSettings, address, page, patterns
from polyhost.container.model_store.signing_keys import signing_keys
from polyhost.container.model_store.source.object_options import VARIABLES
from polyhost.handlers import frameworks, lookup
from polyhost.handlers.errors import BadSettingError
from polyhost.handlers.settings import Settings

_MB = 1024 * 1024
_MAX_NUMBER = 1_000_000  # of invocations, workers, seconds: what is above must be a mistake
_NETTY_THREADS = 32  # a load holds a Netty thread until the model is up: with few threads, loads would delay requests
_WORKER_DESCRIPTORS = 65_536
_MAX_PAYLOAD_MB = 25  # SageMaker developer guide, "Model Hosting FAQs"
_MAX_BATCH_PAYLOAD_MB = 100  # botocore, CreateTransformJob
_TIMEOUT_S = 60
_BATCH_TIMEOUT_S = 3600
_MAX_DRAIN_S = 3600
_OF_THE_STORE = (
    "POLYHOST_UNPACK_DIR",
    "POLYHOST_UNPACK_MB",
    "POLYHOST_STORE_CHECK_SECONDS",
    "POLYHOST_LOAD_AT_START",
    "POLYHOST_PINNED",
    "POLYHOST_DRAIN_SECONDS",
    "POLYHOST_PAGE",
    *withhold.SECRETS,
)
_WORKER_PROCESSES = 2_048
_REQUIREMENTS_S = 120
_LAYERS_MB = 10_240
# Within the 65,536 that a container with a user namespace has, and where neither Debian nor systemd gives out any.
_MODEL_UIDS = (50_000, 59_999)
_MAX_UID = (1 << 31) - 1
_STEP = re.compile(r"\w+(\.\w+)*(:\w+)?")  # "package.module" or "package.module:function"


class Optimization(StrEnum):
    """What POLYHOST_DISABLE can switch off, to measure what it gains: `scripts/bench --ablation`."""

    FILL_HEAP = "fill-heap"
    PREFAULT = "prefault"
    HEADER_CACHE = "header-cache"
    BURSTS = "bursts"


class Isolation(StrEnum):
    """How far models are kept apart (container/isolation)."""

    STRICT = "strict"
    STANDARD = "standard"
    OFF = "off"


class Requirements(StrEnum):
    """Where the packages come from that archives ask for (container/layers)."""

    OFF = "off"
    WHEELS = "wheels"  # code/wheels/ of the archive
    INSTALL = "install"  # code/wheels/ if the archive has it, else an index
    ISOLATED = "isolated"  # as INSTALL; a model that needs other versions than the image's gets a Python of its own


@dataclass(frozen=True)
class Config:
    """The settings: read once in the entry point and handed down, as JSON, to the processes that it starts."""

    host: str
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
    netty_threads: int
    netty_client_threads: int
    job_queue_size: int | None
    disabled: tuple[str, ...]
    isolation: Isolation
    shared_folders: tuple[str, ...]
    home: str | None
    worker_descriptors: int
    worker_file_bytes: int | None
    worker_temp_bytes: int | None
    worker_processes: int
    model_uids: tuple[int, int] | None
    withhold: tuple[str, ...]
    requirements: Requirements
    requirements_s: int
    layers_bytes: int
    layers_dir: str | None  # where the layers are; chosen when the container starts (layers/folder.py)
    store: StoreSettings | None  # None: models are loaded and unloaded by SageMaker, or by another client

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings. Raises ConfigError, which names the variable, its value and what it may be."""
        read = _EnvironReader(environ)
        isolation = Isolation(read("POLYHOST_ISOLATION", _one_of(*Isolation), Isolation.STANDARD))
        requirements = Requirements(read("POLYHOST_REQUIREMENTS", _one_of(*Requirements), Requirements.OFF))
        store = _store(read)
        default = "mms" if store is None else "native"  # what is without SageMaker need not be as in SageMaker
        native = read("POLYHOST_FRONTEND", _one_of("mms", "native"), default) == "native"
        _check_settings_of_others(read, environ)
        return cls(
            host=read("POLYHOST_HOST", _one_of("0.0.0.0", "127.0.0.1"), "0.0.0.0"),
            port=read("SAGEMAKER_BIND_TO_PORT", _port if native else _mms_port, 8080),
            base_dir=read("SAGEMAKER_BASE_DIR", str, "/opt/ml"),
            # Anything but "true" means single-model: the toolkit, too, compares with "true".
            multi_model=store is not None or read("SAGEMAKER_MULTI_MODEL", str, "false") == "true",
            handler=read("SAGEMAKER_HANDLER", _handler, lookup.SERVICE),
            workers=read("SAGEMAKER_MODEL_SERVER_WORKERS", _positive, None),
            response_timeout_s=read("SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS", _positive, _response_timeout_s(read)),
            load_timeout_s=read("POLYHOST_LOAD_TIMEOUT_SECONDS", _positive, 300),
            max_payload_bytes=read("SAGEMAKER_MAX_REQUEST_SIZE", _payload_mb, _max_payload_mb(read)) * _MB,
            vmargs=read("SAGEMAKER_MODEL_SERVER_VMARGS", str, None),
            log_json=read("POLYHOST_LOG_FORMAT", _one_of("json", "text"), "json") == "json",
            log_level=read("SAGEMAKER_CONTAINER_LOG_LEVEL", _log_level, logging.INFO),
            run_dir=read("POLYHOST_RUN_DIR", str, None),
            preload=read("POLYHOST_PRELOAD", _steps, ()),
            zygotes=read("POLYHOST_ZYGOTES", _zygotes, None),
            memory_reserve_bytes=read("POLYHOST_MEMORY_RESERVE_MB", _megabytes, None),
            max_workers=read("POLYHOST_MAX_WORKERS", _positive, usable_processors()),
            state_dir=read("POLYHOST_STATE_DIR", str, "/var/lib/polyhost"),
            # Not by `read`, because an empty value means no GPU. CUDA accepts anything: it ignores unknown devices.
            visible_gpus=environ.get("CUDA_VISIBLE_DEVICES"),
            native=native,
            queue_size=read("POLYHOST_QUEUE_SIZE", _positive, 100),
            batch_size=read("POLYHOST_BATCH_SIZE", _positive, 1),
            batch_delay_ms=read("POLYHOST_BATCH_DELAY_MS", _milliseconds, 0),
            finish_s=read("POLYHOST_FINISH_SECONDS", _positive, 6),
            netty_threads=read("MMS_NUMBER_OF_NETTY_THREADS", _whole_number(0), _NETTY_THREADS),
            # Started one by one with the first connections to workers. MMS loses a load whose thread cannot be started
            # (a NullPointerException in WorkerThread's clean-up), so there should be few, started early.
            netty_client_threads=read("MMS_NETTY_CLIENT_THREADS", _whole_number(0), os.cpu_count() or 1),
            job_queue_size=read("MMS_JOB_QUEUE_SIZE", _positive, None),
            disabled=read("POLYHOST_DISABLE", _optimizations, ()),
            isolation=isolation,
            shared_folders=_shared_folders(read, environ),
            home=read("HOME", str, None),
            worker_descriptors=read("POLYHOST_WORKER_DESCRIPTORS", _whole_number(64), _WORKER_DESCRIPTORS),
            worker_file_bytes=read("POLYHOST_WORKER_FILE_MB", _megabytes, None),
            worker_temp_bytes=read("POLYHOST_WORKER_TEMP_MB", _megabytes, None),
            worker_processes=read("POLYHOST_WORKER_PROCESSES", _whole_number(16), _WORKER_PROCESSES),
            model_uids=read("POLYHOST_MODEL_UIDS", _uids, _MODEL_UIDS),
            withhold=(
                *read("POLYHOST_WITHHOLD", withhold.parse, ()),
                *withhold.of(isolation is Isolation.STRICT, environ),
                *(index.WITHHELD if requirements in (Requirements.INSTALL, Requirements.ISOLATED) else ()),
            ),
            requirements=requirements,
            requirements_s=read("POLYHOST_REQUIREMENTS_SECONDS", _positive, _REQUIREMENTS_S),
            layers_bytes=read("POLYHOST_LAYERS_MB", _megabytes, _LAYERS_MB * _MB),
            layers_dir=None,
            store=store,
        )

    def enabled(self, optimization: Optimization) -> bool:
        """Return whether POLYHOST_DISABLE leaves this optimization on."""
        return optimization not in self.disabled

    @property
    def models_dir(self) -> Path:
        """Where SageMaker unpacks models: many folders below models/, or the one model itself in model/."""
        return Path(self.base_dir) / ("models" if self.multi_model else "model")

    @property
    def model_roots(self) -> tuple[Path, ...]:
        """The folders below which models lie."""
        return (self.models_dir,) if self.store is None else self.store.model_roots

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        values = json.loads(text)
        for name in ("preload", "zygotes", "disabled", "shared_folders", "withhold"):
            values[name] = tuple(values[name]) if values[name] is not None else None
        values["isolation"] = Isolation(values["isolation"])
        values["requirements"] = Requirements(values["requirements"])
        if values["store"] is not None:
            values["store"] = StoreSettings.of_json(values["store"])
        values["model_uids"] = tuple(values["model_uids"]) if values["model_uids"] else None
        return cls(**{item.name: values[item.name] for item in fields(cls)})


def with_default_store(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Name BASE/models as the store where nothing says what to serve, and there is no model in BASE/model.

    So `docker run -v $PWD/models:/opt/ml/models IMAGE serve` needs no setting. SageMaker always says.
    """
    read = _EnvironReader(environ)
    base = Path(read("SAGEMAKER_BASE_DIR", str, "/opt/ml"))
    chosen = read("SAGEMAKER_MULTI_MODEL", str, None) or read("POLYHOST_MODEL_STORE", str, None)
    if chosen or (base / "model").exists() or not (base / "models").is_dir():
        return environ
    return {**environ, "POLYHOST_MODEL_STORE": str(base.absolute() / "models")}


def store_secrets(environ: Mapping[str, str]) -> StoreSecrets:
    """Return what the model store needs and no process of a model may see. Raises ConfigError."""
    read = _EnvironReader(environ)
    token = read(withhold.BEARER_TOKEN, _token, "")
    keys = read(withhold.SIGNING_KEYS, signing_keys, {})
    if keys and not token:
        raise ConfigError(
            f"{withhold.SIGNING_KEYS} is for AWS's runtime API alone: set {withhold.BEARER_TOKEN}, too, for all else"
        )
    variables = {name: value for name, value in environ.items() if name.startswith(VARIABLES) or name == "HOME"}
    return StoreSecrets(variables, token, keys)


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the processes that the container starts: this installation comes first on the path."""
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, [environ.get("PYTHONPATH")])]
    return {**environ, "PYTHONPATH": os.pathsep.join(paths)}


class _EnvironReader:
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


def _store(read: _EnvironReader) -> StoreSettings | None:
    where = read("POLYHOST_MODEL_STORE", address, None)
    if where is None:
        for name, value in {name: read(name, str, None) for name in _OF_THE_STORE}.items():
            if value is not None:
                shown = name if name in withhold.SECRETS else f"{name}={value!r}"
                raise ConfigError(f"{shown}: only for a container with a model store; set POLYHOST_MODEL_STORE as well")
        return None
    if read("SAGEMAKER_MULTI_MODEL", str, "true") != "true":
        raise ConfigError(
            "SAGEMAKER_MULTI_MODEL='false': with POLYHOST_MODEL_STORE the container serves many models; leave out one"
        )
    return StoreSettings(
        where=where,
        unpack_dir=read("POLYHOST_UNPACK_DIR", _absolute, None),
        unpack_bytes=read("POLYHOST_UNPACK_MB", _megabytes, None),
        check_s=read("POLYHOST_STORE_CHECK_SECONDS", _whole_number(0), 30),
        load_at_start=read("POLYHOST_LOAD_AT_START", patterns, ()),
        pinned=read("POLYHOST_PINNED", patterns, ()),
        drain_s=read("POLYHOST_DRAIN_SECONDS", _whole_number(0, _MAX_DRAIN_S, "seconds"), 0),
        page=read("POLYHOST_PAGE", page, None),
    )


def _token(value: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]{16,512}", value):
        raise ConfigError(f"{withhold.BEARER_TOKEN} must have 16 to 512 printable characters without spaces")
    return value


def _absolute(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError("must be an absolute path")
    return value


def _check_settings_of_others(read: _EnvironReader, environ: Mapping[str, str]) -> None:
    """Check what the toolkit and the handlers read later: one would raise a traceback, the others fail at each load."""
    read("SAGEMAKER_STARTUP_TIMEOUT", _positive, None)
    try:
        Settings.from_environ(environ)
    except BadSettingError as error:
        raise ConfigError(str(error)) from None


def _shared_folders(read: _EnvironReader, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Read the folders that all models may write to, those of libraries' caches included."""
    caches = {name: value for name in (*CACHE_VARIABLES, "HOME") if (value := read(name, str, ""))}

    def convert(value: str) -> tuple[str, ...]:
        return shared_folders({**caches, SHARED_FOLDERS: value})

    return tuple(read(SHARED_FOLDERS, convert, None) or convert(""))


def _whole_number(minimum: int, maximum: int = _MAX_NUMBER, what: str = "a whole number") -> Callable[[str], int]:
    def convert(value: str) -> int:
        if not value.isdecimal() or not minimum <= int(value) <= maximum:
            raise ValueError(f"must be {what} from {minimum} to {maximum}")
        return int(value)

    return convert


_positive = _whole_number(1)
_milliseconds = _whole_number(0, what="a whole number of milliseconds")
_port = _whole_number(1, 65535, "a port")


def _mms_port(value: str) -> int:
    try:
        return _whole_number(1, 32766, "a port")(value)
    except ValueError as error:  # Connector.java rejects ports from 32767 on
        raise ValueError(f"{error} (Multi Model Server accepts none above)") from None


def _payload_mb(value: str) -> int:
    try:
        return _whole_number(1, 2047, "megabytes")(value)
    except ValueError as error:
        raise ValueError(f"{error} (Multi Model Server counts bytes in 32 bits)") from None


def _max_payload_mb(read: _EnvironReader) -> int:
    """Return the default limit: what batch transform sends may be larger (developer guide, your-algorithms-batch-code).

    Its 0 means that there is no limit; here that is the largest one that other jobs can have.
    """
    batch_mb: int | None = read("SAGEMAKER_MAX_PAYLOAD_IN_MB", _whole_number(0, _MAX_BATCH_PAYLOAD_MB), None)
    return _MAX_PAYLOAD_MB if batch_mb is None else max(_MAX_PAYLOAD_MB, batch_mb or _MAX_BATCH_PAYLOAD_MB)


def _response_timeout_s(read: _EnvironReader) -> int:
    """Return the default: in batch transform the job has its own, an hour at most (botocore, ModelClientConfig)."""
    return _BATCH_TIMEOUT_S if read("SAGEMAKER_BATCH", str, "false") == "true" else _TIMEOUT_S


def _uids(value: str) -> tuple[int, int] | None:
    """Read FIRST-LAST. None, for `off`: all models are the container's user's."""
    if value.lower() == "off":
        return None
    first, _, last = value.partition("-")
    if not (first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last) <= _MAX_UID):
        raise ValueError(f"must be FIRST-LAST, numbers of users from 1 to {_MAX_UID}, or off")
    return int(first), int(last)


def _megabytes(value: str) -> int:
    return _whole_number(1, what="megabytes")(value) * _MB


def _words(value: str) -> tuple[str, ...]:
    return tuple(value.replace(",", " ").split())


def _zygotes(value: str) -> tuple[str, ...] | None:
    """Read the names of frameworks; None, for `auto`, means those that models need."""
    known = tuple(frameworks.zygote_steps())
    words = _words(value)
    if words == ("auto",):
        return None
    if words == ("all",):
        return tuple(name for name in known if name == frameworks.BARE or frameworks.installed(name))
    if not set(words) <= set(known):
        raise ValueError(f"must be auto, all, or any of {', '.join(known)}")
    return words


def _words_of(known: Callable[[], tuple[str, ...]]) -> Callable[[str], tuple[str, ...]]:
    def convert(value: str) -> tuple[str, ...]:
        words = _words(value)
        if not set(words) <= set(known()):
            raise ValueError(f"must be any of {', '.join(known())}")
        return words

    return convert


_optimizations = _words_of(lambda: tuple(map(str, Optimization)))


def _steps(value: str) -> tuple[str, ...]:
    words = _words(value)
    if not all(map(_STEP.fullmatch, words)):
        raise ValueError("must be names of modules, such as xgboost or package.module")
    return words


def _handler(value: str) -> str:
    if value.startswith(":"):
        raise ValueError("must be MODULE[:FUNCTION] or FILE.py[:FUNCTION]")
    return lookup.canonical(value)


def _one_of(*choices: str) -> Callable[[str], str]:
    def convert(value: str) -> str:
        if value.lower() not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value.lower()

    return convert


def _log_level(value: str) -> int:
    """Convert a number, as SageMaker's SDK sends it ("20"), or a name."""
    level = int(value) if value.isdecimal() else logging.getLevelNamesMapping().get(value.upper())
    if level is None:
        raise ValueError("must be a level of Python's logging, such as 20 or INFO")
    return level
