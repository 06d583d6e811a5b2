"""Settings from the environment: defaults, conversions, and what a wrong value is told."""

import logging
import os

import pytest

from polyhost.container.config import Config
from polyhost.container.errors import ConfigError
from polyhost.handlers import lookup

MB = 1024 * 1024


def test_an_empty_environment_gives_the_defaults() -> None:
    config = Config.from_environ({})

    assert (config.port, config.base_dir, config.handler) == (8080, "/opt/ml", lookup.SERVICE)
    assert (config.max_payload_bytes, config.response_timeout_s, config.load_timeout_s) == (25 * MB, 60, 300)
    assert (config.log_json, config.log_level) == (True, logging.INFO)
    assert config.max_workers == len(os.sched_getaffinity(0))
    assert (config.zygotes, config.workers) == (None, None)


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "9000", "port", 9000),
        ("SAGEMAKER_BIND_TO_PORT", " 9000 ", "port", 9000),
        ("SAGEMAKER_BIND_TO_PORT", "", "port", 8080),
        ("SAGEMAKER_MULTI_MODEL", "true", "multi_model", True),
        ("SAGEMAKER_MULTI_MODEL", "True", "multi_model", False),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "3", "workers", 3),
        ("SAGEMAKER_MAX_REQUEST_SIZE", "2047", "max_payload_bytes", 2047 * MB),
        ("SAGEMAKER_CONTAINER_LOG_LEVEL", "10", "log_level", logging.DEBUG),
        ("SAGEMAKER_CONTAINER_LOG_LEVEL", "warning", "log_level", logging.WARNING),
        ("POLYHOST_LOG_FORMAT", "TEXT", "log_json", False),
        ("POLYHOST_FINISH_SECONDS", "5", "finish_s", 5),
        ("POLYHOST_PRELOAD", "xgboost, transformers", "preload", ("xgboost", "transformers")),
        ("POLYHOST_ZYGOTES", "sklearn torch", "zygotes", ("sklearn", "torch")),
    ],
)
def test_a_variable_sets_its_field(name: str, value: str, field: str, expected: object) -> None:
    assert getattr(Config.from_environ({name: value}), field) == expected


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "http", "1 to 32766"),
        ("SAGEMAKER_BIND_TO_PORT", "0", "1 to 32766"),
        ("SAGEMAKER_BIND_TO_PORT", "32767", "1 to 32766"),
        ("SAGEMAKER_BIND_TO_PORT", "-1", "1 to 32766"),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "0", "above 0"),
        ("SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS", "1.5", "above 0"),
        ("SAGEMAKER_MAX_REQUEST_SIZE", "2048", "1 to 2047"),
        ("SAGEMAKER_CONTAINER_LOG_LEVEL", "loud", "INFO"),
        ("POLYHOST_LOG_FORMAT", "xml", "json, text"),
        ("POLYHOST_MAX_WORKERS", "none", "above 0"),
        ("SAGEMAKER_PROGRAM", "/etc/serve.py", "a Python file of the archive"),
        ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "json", "a media type"),
    ],
)
def test_a_wrong_value_is_told_with_name_value_and_remedy(name: str, value: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_environ({name: value})

    assert f"{name}={value!r}" in str(caught.value)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    "environ", [{}, {"POLYHOST_PRELOAD": "a b", "POLYHOST_ZYGOTES": "torch", "SAGEMAKER_MODEL_SERVER_WORKERS": "2"}]
)
def test_the_way_to_another_process_loses_nothing(environ: dict[str, str]) -> None:
    config = Config.from_environ(environ)

    assert Config.from_json(config.to_json()) == config


def test_models_lie_in_different_folders_by_mode() -> None:
    many = Config.from_environ({"SAGEMAKER_BASE_DIR": "/ml", "SAGEMAKER_MULTI_MODEL": "true"})
    one = Config.from_environ({"SAGEMAKER_BASE_DIR": "/ml"})

    assert (str(many.models_dir), str(one.models_dir)) == ("/ml/models", "/ml/model")
