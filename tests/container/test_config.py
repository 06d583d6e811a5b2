"""Settings from the environment: defaults, conversions, errors."""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from polyhost.cgroup import usable_processors
from polyhost.container.config import (
    Config,
    Isolation,
    Optimization,
    Requirements,
    child_environment,
    store_secrets,
    with_default_store,
)
from polyhost.container.errors import ConfigError
from polyhost.container.isolation.shared_folders import CACHE_VARIABLES
from polyhost.container.model_store.secrets import StoreSecrets
from polyhost.handlers.lookup import SERVICE
from tests.support.container import ENTRY_POINT, ROOT

MB = 1024 * 1024


class RecordingEnviron(Mapping[str, str]):
    """An empty environment that records the names of the variables that are read."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def test_defaults() -> None:
    config = Config.from_environ({})

    assert (config.port, config.base_dir, config.handler) == (8080, "/opt/ml", SERVICE)
    assert (config.max_payload_bytes, config.response_timeout_s, config.load_timeout_s) == (25 * MB, 60, 300)
    assert (config.log_json, config.log_level) == (True, logging.INFO)
    assert config.max_workers == usable_processors()
    assert (config.zygotes, config.workers, config.visible_gpus) == (None, None, None)
    assert (config.netty_threads, config.netty_client_threads) == (32, os.cpu_count())
    assert all(map(config.enabled, Optimization))


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "9000", "port", 9000),
        ("SAGEMAKER_BIND_TO_PORT", " 9000 ", "port", 9000),
        ("SAGEMAKER_BIND_TO_PORT", "", "port", 8080),
        ("POLYHOST_MODEL_UIDS", "1000-1999", "model_uids", (1000, 1999)),
        ("POLYHOST_MODEL_UIDS", "off", "model_uids", None),
        ("POLYHOST_REQUIREMENTS", "Isolated", "requirements", Requirements.ISOLATED),
        ("POLYHOST_REQUIREMENTS", "", "requirements", Requirements.OFF),
        ("POLYHOST_REQUIREMENTS_SECONDS", "30", "requirements_s", 30),
        ("POLYHOST_LAYERS_MB", "2", "layers_bytes", 2 * MB),
        ("SAGEMAKER_BASE_DIR", "/ml", "base_dir", "/ml"),
        ("SAGEMAKER_MULTI_MODEL", "true", "multi_model", True),
        ("SAGEMAKER_MULTI_MODEL", "True", "multi_model", False),
        ("SAGEMAKER_HANDLER", "handlers.service:handle", "handler", SERVICE),
        ("SAGEMAKER_HANDLER", "own.py:predict", "handler", "own.py:predict"),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "3", "workers", 3),
        ("SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS", "90", "response_timeout_s", 90),
        ("SAGEMAKER_MODEL_SERVER_VMARGS", "-Xmx1g", "vmargs", "-Xmx1g"),
        ("SAGEMAKER_MAX_REQUEST_SIZE", "2047", "max_payload_bytes", 2047 * MB),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "100", "max_payload_bytes", 100 * MB),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "6", "max_payload_bytes", 25 * MB),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "0", "max_payload_bytes", 100 * MB),
        ("SAGEMAKER_BATCH", "true", "response_timeout_s", 3600),
        ("SAGEMAKER_BATCH", "false", "response_timeout_s", 60),
        ("SAGEMAKER_CONTAINER_LOG_LEVEL", "10", "log_level", logging.DEBUG),
        ("SAGEMAKER_CONTAINER_LOG_LEVEL", "warning", "log_level", logging.WARNING),
        ("POLYHOST_FRONTEND", "Native", "native", True),
        ("POLYHOST_HOST", "127.0.0.1", "host", "127.0.0.1"),
        ("POLYHOST_QUEUE_SIZE", "7", "queue_size", 7),
        ("POLYHOST_BATCH_SIZE", "8", "batch_size", 8),
        ("POLYHOST_BATCH_DELAY_MS", "0", "batch_delay_ms", 0),
        ("POLYHOST_LOAD_TIMEOUT_SECONDS", "600", "load_timeout_s", 600),
        ("POLYHOST_LOG_FORMAT", "TEXT", "log_json", False),
        ("POLYHOST_FINISH_SECONDS", "5", "finish_s", 5),
        ("POLYHOST_PRELOAD", "xgboost, a.b:warm_up", "preload", ("xgboost", "a.b:warm_up")),
        ("POLYHOST_ZYGOTES", "sklearn bare", "zygotes", ("sklearn", "bare")),
        ("POLYHOST_ZYGOTES", "auto", "zygotes", None),
        ("POLYHOST_MAX_WORKERS", "9", "max_workers", 9),
        ("POLYHOST_MEMORY_RESERVE_MB", "5", "memory_reserve_bytes", 5 * MB),
        ("POLYHOST_STATE_DIR", "/state", "state_dir", "/state"),
        ("POLYHOST_RUN_DIR", "/run", "run_dir", "/run"),
        ("POLYHOST_ISOLATION", "Strict", "isolation", Isolation.STRICT),
        ("POLYHOST_WORKER_DESCRIPTORS", "1000", "worker_descriptors", 1000),
        ("POLYHOST_WORKER_PROCESSES", "100", "worker_processes", 100),
        ("POLYHOST_WORKER_TEMP_MB", "5", "worker_temp_bytes", 5 * MB),
        ("POLYHOST_WORKER_FILE_MB", "3", "worker_file_bytes", 3 * MB),
        ("POLYHOST_SHARED_FOLDERS", "/a:/b c", "shared_folders", ("/tmp", "/dev/shm", "/a", "/b c")),
        ("HF_HOME", "/hf", "shared_folders", ("/tmp", "/dev/shm", "/hf")),
        ("POLYHOST_DISABLE", "prefault,fill-heap", "disabled", ("prefault", "fill-heap")),
        ("MMS_NUMBER_OF_NETTY_THREADS", "0", "netty_threads", 0),
        ("MMS_NETTY_CLIENT_THREADS", "3", "netty_client_threads", 3),
        ("MMS_JOB_QUEUE_SIZE", "50", "job_queue_size", 50),
        ("MMS_JOB_QUEUE_SIZE", "", "job_queue_size", None),
        ("POLYHOST_MODEL_STORE", "", "store", None),
        ("POLYHOST_MODEL_STORE", "s3://bucket/models", "multi_model", True),
        ("POLYHOST_MODEL_STORE", "/models", "native", True),
        ("CUDA_VISIBLE_DEVICES", "", "visible_gpus", ""),
        ("CUDA_VISIBLE_DEVICES", "GPU-8f3a", "visible_gpus", "GPU-8f3a"),
    ],
)
def test_a_variable_sets_its_field(name: str, value: str, field: str, expected: object) -> None:
    assert getattr(Config.from_environ({name: value}), field) == expected


UNUSABLE = [
    ("POLYHOST_REQUIREMENTS", "yes", "must be one of off, wheels, install, isolated"),
    ("POLYHOST_REQUIREMENTS_SECONDS", "0", "must be a whole number from 1 to"),
    ("POLYHOST_LAYERS_MB", "0", "must be megabytes from 1 to"),
    ("POLYHOST_BASE_MODELS", "bases", "must be the absolute path of a folder of models"),
    ("POLYHOST_WITHHOLD", "a-b", "must be names of variables"),
    ("POLYHOST_WITHHOLD", "PATH", "polyhost needs it; leave it out"),
    ("SAGEMAKER_BIND_TO_PORT", "http", "1 to 32766"),
    ("SAGEMAKER_BIND_TO_PORT", "0", "1 to 32766"),
    ("SAGEMAKER_BIND_TO_PORT", "32767", "1 to 32766"),
    ("SAGEMAKER_BIND_TO_PORT", "-1", "1 to 32766"),
    ("SAGEMAKER_HANDLER", ":handle", "MODULE[:FUNCTION]"),
    ("SAGEMAKER_PROGRAM", "/etc/serve.py", "a Python file of the archive"),
    ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "json", "a media type"),
    ("POLYHOST_HOST", "::1", "0.0.0.0, 127.0.0.1"),
    ("MMS_DECODE_INPUT_REQUEST", "yes", "true or false"),
    ("SAGEMAKER_MODEL_SERVER_WORKERS", "0", "from 1 to"),
    ("SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS", "1.5", "from 1 to"),
    ("SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS", "1000001", "from 1 to 1000000"),
    ("SAGEMAKER_SUBMIT_DIRECTORY", "code", "s3://BUCKET/KEY.tar.gz"),
    ("SAGEMAKER_MAX_REQUEST_SIZE", "2048", "1 to 2047"),
    ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "101", "from 0 to 100"),
    ("SAGEMAKER_CONTAINER_LOG_LEVEL", "loud", "INFO"),
    ("SAGEMAKER_STARTUP_TIMEOUT", "soon", "from 1 to"),
    ("POLYHOST_FRONTEND", "nginx", "mms, native"),
    ("POLYHOST_QUEUE_SIZE", "0", "from 1 to"),
    ("POLYHOST_BATCH_SIZE", "many", "from 1 to"),
    ("POLYHOST_BATCH_DELAY_MS", "-1", "milliseconds"),
    ("POLYHOST_FINISH_SECONDS", "0", "from 1 to"),
    ("POLYHOST_LOAD_TIMEOUT_SECONDS", "0", "from 1 to"),
    ("POLYHOST_LOG_FORMAT", "xml", "json, text"),
    ("POLYHOST_ZYGOTES", "sklearn,pytorch", "torch"),
    ("POLYHOST_PRELOAD", "a/b.py", "names of modules"),
    ("POLYHOST_MAX_WORKERS", "none", "from 1 to"),
    ("POLYHOST_MEMORY_RESERVE_MB", "5%", "megabytes"),
    ("POLYHOST_ISOLATION", "paranoid", "strict, standard, off"),
    ("POLYHOST_WORKER_DESCRIPTORS", "3", "from 64 to"),
    ("POLYHOST_WORKER_FILE_MB", "0", "megabytes"),
    ("POLYHOST_WORKER_PROCESSES", "1", "from 16 to"),
    ("POLYHOST_WORKER_TEMP_MB", "all", "megabytes"),
    ("POLYHOST_MODEL_UIDS", "0-10", "FIRST-LAST"),
    ("POLYHOST_SHARED_FOLDERS", "cache", "absolute paths"),
    ("POLYHOST_DISABLE", "prefault,everything", "fill-heap, prefault"),
    ("POLYHOST_MODEL_STORE", "models", "an absolute folder, s3://BUCKET/PREFIX/"),
    ("POLYHOST_MODEL_STORE", "ftp://models/", "an absolute folder, s3://BUCKET/PREFIX/"),
    ("POLYHOST_MODEL_STORE", "s3://", "an absolute folder, s3://BUCKET/PREFIX/"),
    ("POLYHOST_MODEL_STORE", "/models s3://b/p/", "names 2 stores; give one"),
    ("POLYHOST_UNPACK_DIR", "/x", "set POLYHOST_MODEL_STORE"),
    ("POLYHOST_UNPACK_MB", "1", "set POLYHOST_MODEL_STORE"),
    ("POLYHOST_STORE_CHECK_SECONDS", "1", "set POLYHOST_MODEL_STORE"),
    ("POLYHOST_LOAD_AT_START", "*", "set POLYHOST_MODEL_STORE"),
    ("POLYHOST_PINNED", "*", "set POLYHOST_MODEL_STORE"),
    ("POLYHOST_DRAIN_SECONDS", "5", "set POLYHOST_MODEL_STORE"),
    ("POLYHOST_PAGE", "on", "set POLYHOST_MODEL_STORE"),
    ("MMS_NUMBER_OF_NETTY_THREADS", "-1", "from 0 to"),
    ("MMS_NETTY_CLIENT_THREADS", "few", "from 0 to"),
    ("MMS_JOB_QUEUE_SIZE", "0", "from 1 to"),
]
ANY_VALUE = {
    "SAGEMAKER_BASE_DIR", "SAGEMAKER_BATCH", "SAGEMAKER_MULTI_MODEL", "SAGEMAKER_MODEL_SERVER_VMARGS",
    "CUDA_VISIBLE_DEVICES",
    "POLYHOST_STATE_DIR", "POLYHOST_RUN_DIR", "SAGEMAKER_REGION", "AWS_REGION", "HOME", *CACHE_VARIABLES,
    "POLYHOST_BEARER_TOKEN", "POLYHOST_SIGNING_KEYS", "HF_TASK",
}  # fmt: skip


@pytest.mark.parametrize(("name", "value", "remedy"), UNUSABLE)
def test_an_error_names_variable_value_and_remedy(name: str, value: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_environ({name: value})

    assert f"{name}={value!r}" in str(caught.value)
    assert remedy in str(caught.value)


def test_a_limit_of_the_user_s_own_comes_before_those_of_batch_transform() -> None:
    own = {"SAGEMAKER_MAX_REQUEST_SIZE": "7", "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS": "8"}
    config = Config.from_environ(own | {"SAGEMAKER_BATCH": "true", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "100"})

    assert (config.max_payload_bytes, config.response_timeout_s) == (7 * MB, 8)


def test_the_native_front_end_accepts_every_port() -> None:
    config = Config.from_environ({"POLYHOST_FRONTEND": "native", "SAGEMAKER_BIND_TO_PORT": "65535"})

    assert config.port == 65535


def test_every_variable_that_is_read_can_be_wrong_or_takes_any_value() -> None:
    environ = RecordingEnviron()
    Config.from_environ(environ)

    assert environ.names == {name for name, _, _ in UNUSABLE} | ANY_VALUE


def test_documentation_lists_every_variable_that_is_read() -> None:
    environ = RecordingEnviron()
    Config.from_environ(environ)
    documented = set(re.findall(r"`([A-Z][A-Z_]+)`", (ROOT / "docs" / "configuration.md").read_text()))

    assert environ.names <= documented


@pytest.mark.parametrize(
    ("name", "value"),
    [("SAGEMAKER_PROGRAM", "../serve.py"), ("POLYHOST_ZYGOTES", "pytorch"), ("POLYHOST_DISABLE", "x")],
)
def test_an_unusable_value_ends_the_container_with_status_2(name: str, value: str) -> None:
    result = subprocess.run(
        [sys.executable, ENTRY_POINT, "serve"],
        env={**os.environ, name: value}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"polyhost: {name}={value!r}: must ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"POLYHOST_PRELOAD": "a b", "POLYHOST_ZYGOTES": "torch", "SAGEMAKER_MODEL_SERVER_WORKERS": "2"},
        {"POLYHOST_MODEL_STORE": "/models", "POLYHOST_PINNED": "a b", "POLYHOST_UNPACK_MB": "5"},
        {"POLYHOST_MODEL_STORE": "/models", "POLYHOST_PAGE": "a.example b"},
        {"POLYHOST_MODEL_STORE": "/models", "POLYHOST_PAGE": "on"},
    ],
)
def test_json_round_trip(environ: dict[str, str]) -> None:
    config = Config.from_environ(environ)

    assert Config.from_json(config.to_json()) == config


def test_the_models_folder_depends_on_the_mode() -> None:
    many = Config.from_environ({"SAGEMAKER_BASE_DIR": "/ml", "SAGEMAKER_MULTI_MODEL": "true"})
    one = Config.from_environ({"SAGEMAKER_BASE_DIR": "/ml"})

    assert (str(many.models_dir), str(one.models_dir)) == ("/ml/models", "/ml/model")


STORE = {"POLYHOST_MODEL_STORE": "/models"}


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"POLYHOST_UNPACK_DIR": "here"}, "POLYHOST_UNPACK_DIR='here': must be an absolute path"),
        ({"POLYHOST_UNPACK_MB": "0"}, "POLYHOST_UNPACK_MB='0': must be megabytes"),
        ({"POLYHOST_STORE_CHECK_SECONDS": "-1"}, "from 0 to"),
        ({"POLYHOST_DRAIN_SECONDS": "1 h"}, "POLYHOST_DRAIN_SECONDS='1 h': must be seconds from 0 to 3600"),
        ({"POLYHOST_PAGE": "http://host/"}, "POLYHOST_PAGE='http://host/': must be on, off, or names of hosts"),
        ({"SAGEMAKER_MULTI_MODEL": "false"}, "leave out one"),
    ],
)
def test_settings_of_a_store_are_checked(environ: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Config.from_environ(STORE | environ)


def test_a_bearer_token_is_checked_and_never_shown() -> None:
    assert store_secrets({"POLYHOST_BEARER_TOKEN": "x" * 16}).bearer_token == "x" * 16
    with pytest.raises(ConfigError, match="POLYHOST_BEARER_TOKEN must have 16") as caught:
        store_secrets({"POLYHOST_BEARER_TOKEN": "too short"})
    assert "too short" not in str(caught.value)
    with pytest.raises(ConfigError, match="set POLYHOST_MODEL_STORE") as caught:
        Config.from_environ({"POLYHOST_BEARER_TOKEN": "without a store"})
    assert "without a store" not in str(caught.value)
    config = Config.from_environ({**STORE, "POLYHOST_BEARER_TOKEN": "x" * 16})
    assert "x" * 16 not in config.to_json() and config.withhold == ("POLYHOST_BEARER_TOKEN",)


def test_signing_keys_are_read_and_never_shown(tmp_path: Path) -> None:
    token = {"POLYHOST_BEARER_TOKEN": "x" * 16}
    pairs = {"A" * 16: "s/+=:" * 8, "B" * 20: "t" * 16}
    value = ",".join(f"{key_id}:{secret}" for key_id, secret in pairs.items())
    (tmp_path / "keys").write_text(value.replace(",", "\n"))
    for given in (value, str(tmp_path / "keys")):
        secrets = store_secrets({**token, "POLYHOST_SIGNING_KEYS": given})
        assert secrets.signing_keys == pairs
        assert StoreSecrets.from_json(secrets.to_json()) == secrets
    with pytest.raises(ConfigError, match="set POLYHOST_BEARER_TOKEN, too"):
        store_secrets({"POLYHOST_SIGNING_KEYS": value})
    with pytest.raises(ConfigError, match="keys-none' cannot be read: "):
        store_secrets({**token, "POLYHOST_SIGNING_KEYS": f"{tmp_path}/keys-none"})
    for wrong in (f"{value},{'A' * 16}", "short:" + "wrong" * 4):
        with pytest.raises(ConfigError, match="POLYHOST_SIGNING_KEYS must be KEY_ID:SECRET") as caught:
            store_secrets({**token, "POLYHOST_SIGNING_KEYS": wrong})
        assert "wrong" not in str(caught.value) and "s/+=" not in str(caught.value)
    config = Config.from_environ({**STORE, **token, "POLYHOST_SIGNING_KEYS": value})
    assert config.withhold == ("POLYHOST_BEARER_TOKEN", "POLYHOST_SIGNING_KEYS")


def test_a_folder_of_models_becomes_the_store_where_nothing_says_what_to_serve(tmp_path: Path) -> None:
    base = {"SAGEMAKER_BASE_DIR": str(tmp_path)}
    assert with_default_store(base) == base
    (tmp_path / "models").mkdir()
    assert with_default_store(base)["POLYHOST_MODEL_STORE"] == str(tmp_path / "models")
    for said in ({"SAGEMAKER_MULTI_MODEL": "true"}, {"SAGEMAKER_MULTI_MODEL": "false"}, STORE):
        assert with_default_store({**base, **said}) == {**base, **said}
    (tmp_path / "model").mkdir()
    assert with_default_store(base) == base


def test_processes_of_the_container_import_this_installation_first() -> None:
    paths = child_environment({"PYTHONPATH": "/own", "A": "b"})["PYTHONPATH"].split(os.pathsep)

    assert (Path(paths[0]) / "polyhost" / "__init__.py").is_file()
    assert paths[1:] == ["/own"]
    assert child_environment({"A": "b"})["A"] == "b"
