"""`docker run IMAGE serve`, as SageMaker starts it."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.conftest import MODEL_NAME
from tests.image.engine import BUILD_SECONDS, Container, detached, docker, inspect, run, serving

pytestmark = [pytest.mark.image, pytest.mark.timeout(BUILD_SECONDS)]

STOP_SECONDS = 10


@pytest.fixture(scope="module")
def container(front: str, image: str, models: Path) -> Iterator[Container]:
    """In multi-model mode, with read-only models and the memory of a small instance."""
    options = [
        "--env=SAGEMAKER_MULTI_MODEL=true",
        f"--env=POLYHOST_FRONTEND={front}",
        f"--volume={models}:/opt/ml/models:ro",
        "--memory=2g",
    ]
    with serving(image, *options) as started:
        yield started


def test_load_list_invoke_unload(container: Container) -> None:
    assert container.load(MODEL_NAME).status_code == 200
    assert container.models() == [MODEL_NAME]
    answer = container.client.post(f"/models/{MODEL_NAME}/invoke", json=[[0.5], [3.5]])
    assert (answer.status_code, answer.json()) == (200, [0, 1])
    assert container.client.delete(f"/models/{MODEL_NAME}").status_code == 200
    assert container.models() == []
    assert container.client.post(f"/models/{MODEL_NAME}/invoke", json=[[0.5]]).status_code == 404


def test_the_models_folder_is_read_only(container: Container) -> None:
    done = docker("exec", container.id, "touch", f"/opt/ml/models/{MODEL_NAME}/model/new", check=False)

    assert "Read-only file system" in done.stderr


def test_the_health_check_passes_where_it_serves(container: Container) -> None:
    assert health_check(container.id).returncode == 0


def test_the_health_check_fails_where_nothing_serves(image: str) -> None:
    with detached(image, "sleep", "infinity") as container:
        assert health_check(container).returncode == 1


def test_another_port(image: str) -> None:
    options = ["--env=SAGEMAKER_BIND_TO_PORT=9090", "--env=SAGEMAKER_MULTI_MODEL=true"]
    with serving(image, *options, port=9090) as started:
        assert started.models() == []
        assert health_check(started.id).returncode == 0


def test_one_model_alone(sklearn_image: str, models: Path) -> None:
    with serving(sklearn_image, f"--volume={models / MODEL_NAME / 'model'}:/opt/ml/model:ro") as started:
        answer = started.client.post("/invocations", json=[[0.5], [3.5]])

        assert (answer.status_code, answer.json()) == (200, [0, 1])


def test_sigterm_ends_it_in_time(front: str, image: str, models: Path) -> None:
    options = [
        "--env=SAGEMAKER_MULTI_MODEL=true",
        f"--env=POLYHOST_FRONTEND={front}",
        f"--volume={models}:/opt/ml/models:ro",
    ]
    with serving(image, *options) as started:
        assert started.load(MODEL_NAME).status_code == 200
        began = time.monotonic()
        docker("stop", "-t", "30", started.id)
        took = time.monotonic() - began

        assert started.state["ExitCode"] == 0, started.logs
        assert took < STOP_SECONDS


def test_a_wrong_setting_is_a_clear_error(image: str) -> None:
    done = run(image, "serve", options=("--env=SAGEMAKER_BIND_TO_PORT=eighty",))

    assert done.returncode != 0
    assert "SAGEMAKER_BIND_TO_PORT='eighty'" in done.stdout + done.stderr


def health_check(container: str) -> subprocess.CompletedProcess[str]:
    """By hand: not every engine runs it by itself."""
    kind, *command = inspect(container)["Config"]["Healthcheck"]["Test"]
    assert kind == "CMD"
    return docker("exec", container, *command, check=False)
