"""SAGEMAKER_MULTI_MODEL unset: the model in BASE/model is served at /invocations, as on a single-model endpoint."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.handlers.conftest import boosted_text  # noqa: F401  (a fixture)
from tests.support.container import ContainerProcess, running
from tests.support.models import MODELS
from tests.support.s3 import packed, s3_server
from tests.support.waiting import wait_for

SINGLE = {"SAGEMAKER_MULTI_MODEL": "", "POLYHOST_ZYGOTES": "bare"}


@contextmanager
def serving(folder: Path, front: str, kind: str, **environ: str) -> Iterator[ContainerProcess]:
    _unpack(folder, kind)
    with running(folder, front, **{**SINGLE, **environ}) as container:
        yield container


def _unpack(folder: Path, kind: str) -> Path:
    return Path(shutil.copytree(MODELS / kind, folder / "ml" / "model"))


def workers(container: ContainerProcess) -> list[psutil.Process]:
    return container.workers_in(container.base_dir / "model")


def responds(container: ContainerProcess) -> bool:
    """Return whether the model responds: MMS answers /ping before it is loaded."""
    return container.http.post("/invocations", content="1").status_code == 200


def test_invocations(tmp_path: Path, front: str) -> None:
    with serving(tmp_path, front, "describes_itself", SAGEMAKER_MODEL_SERVER_WORKERS="2") as container:
        sent = {"content-type": "text/csv", "accept": "text/plain", "X-Amzn-SageMaker-Custom-Attributes": "a=1"}
        wait_for(lambda: responds(container), "a response")

        response = container.http.post("/invocations", content="1,2", headers=sent).json()

        assert (response["content_type"], response["accept"]) == ("text/csv", "text/plain")
        assert response["headers"]["X-Amzn-SageMaker-Custom-Attributes"] == "a=1"
        assert response["model_dir"] == str(container.base_dir / "model")
        assert container.names() == ["model"]
        wait_for(lambda: len(workers(container)) == 2, "two workers")


def test_only_the_zygote_that_the_model_asks_for_starts(
    tmp_path: Path, front: str, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("lightgbm")
    shutil.copytree(request.getfixturevalue("boosted_text"), tmp_path / "ml" / "model")
    with running(tmp_path, front, SAGEMAKER_MULTI_MODEL="") as container:
        sent = {"content-type": "text/csv"}
        wait_for(lambda: container.http.post("/invocations", content="0,1", headers=sent).status_code == 200, "a 200")
        container.wait_for_event("zygote lightgbm is ready")
        messages = [event["message"] for event in container.events()]
        assert [text for text in messages if text.startswith("zygote ")] == ["zygote lightgbm is ready"]


def test_one_worker_per_core_by_default(tmp_path: Path, front: str) -> None:
    with serving(tmp_path, front, "class_handler") as container:
        wait_for(lambda: len(workers(container)) == os.cpu_count(), f"{os.cpu_count()} workers")
        assert container.http.post("/invocations", content="1").text == "1!"


def test_handler_of_the_container_serves_an_archive_without_one(tmp_path: Path, front: str) -> None:
    """SAGEMAKER_HANDLER names a file."""
    handler = MODELS / "function_over_a_class" / "model_handler.py"
    with serving(tmp_path, front, "empty", SAGEMAKER_HANDLER=f"{handler}:handle") as container:
        assert container.http.post("/invocations", content="abc").text == "ABC"


def test_worker_death_in_a_request(tmp_path: Path, front: str) -> None:
    with serving(tmp_path, front, "exits_in_predict", SAGEMAKER_MODEL_SERVER_WORKERS="1") as container:
        wait_for(lambda: responds(container), "a response")

        response = container.http.post("/invocations", content="die", headers={"content-type": "text/csv"})

        assert (response.status_code, response.json()["type"]) == (500, "WorkerDiedError")
        assert responds(container)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("raises_in_load", "these weights are damaged"),
        ("exits_in_load", "exited with status 3 while loading the model"),
        ("exits_before_its_reply", "exited with status 3 while loading the model"),
        ("segfaults_before_its_reply", "died of SIGSEGV while loading the model"),
    ],
)
def test_failed_load_ends_the_container(tmp_path: Path, front: str, kind: str, words: str) -> None:
    _unpack(tmp_path, kind)
    container = ContainerProcess(tmp_path / "ml", tmp_path / "container.log", front, **SINGLE)

    assert container.process.wait(60) == 1

    container.stop()
    errors = container.events(level="ERROR")
    assert any(words in event["message"] for event in errors)
    assert any("the only model of this container cannot be loaded" in event["message"] for event in errors)


def test_missing_model_is_a_configuration_error(tmp_path: Path, front: str) -> None:
    single = {**SINGLE, "SAGEMAKER_MULTI_MODEL": "false"}  # or else the folder `models` would be served
    container = ContainerProcess(tmp_path / "ml", tmp_path / "container.log", front, **single)

    assert container.process.wait(120) == 2

    container.stop()
    assert f"{tmp_path}/ml/model does not exist" in container.log_text()
    assert "SAGEMAKER_MULTI_MODEL=true" in container.log_text()


SUBMITTED = "def model_fn(model_dir):\n    return lambda rows: ['submitted']\n"


def test_script_that_the_sdk_has_uploaded_to_s3(tmp_path: Path, front: str) -> None:
    with s3_server() as (s3, variables):
        s3.create_bucket(Bucket="code")
        s3.put_object(Bucket="code", Key="job/sourcedir.tar.gz", Body=packed(**{"train.py": SUBMITTED}))
        submitted = {"SAGEMAKER_SUBMIT_DIRECTORY": "s3://code/job/sourcedir.tar.gz", "SAGEMAKER_PROGRAM": "train.py"}
        with serving(tmp_path, front, "empty", **variables, **submitted) as container:
            wait_for(lambda: container.http.post("/invocations", content="[[1]]").status_code == 200, "a response")

            assert container.http.post("/invocations", content="[[1]]").json() == ["submitted"]


def test_script_in_s3_that_cannot_be_read_is_a_configuration_error(tmp_path: Path, front: str) -> None:
    _unpack(tmp_path, "empty")
    with s3_server() as (_, variables):
        place = {"SAGEMAKER_SUBMIT_DIRECTORY": "s3://no-such-bucket/a.tar.gz"}
        container = ContainerProcess(tmp_path / "ml", tmp_path / "container.log", front, **SINGLE, **variables, **place)

        assert container.process.wait(60) == 2

        container.stop()
        assert "SAGEMAKER_SUBMIT_DIRECTORY='s3://no-such-bucket/a.tar.gz': cannot be read" in container.log_text()
