"""`docker run IMAGE serve`, as SageMaker starts it."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.conftest import MODEL_NAME
from tests.image.engine import BUILD_SECONDS, ImageContainer, detached, docker, inspect, run, serving

pytestmark = [pytest.mark.image, pytest.mark.timeout(BUILD_SECONDS)]

STOP_SECONDS = 10


@pytest.fixture(scope="module")
def container(front: str, image: str, models: Path) -> Iterator[ImageContainer]:
    """Run the image in multi-model mode, with read-only models and the memory of a small instance."""
    options = [
        "--env=SAGEMAKER_MULTI_MODEL=true",
        f"--env=POLYHOST_FRONTEND={front}",
        f"--volume={models}:/opt/ml/models:ro",
        "--memory=2g",
    ]
    with serving(image, *options) as started:
        yield started


def test_load_list_invoke_unload(container: ImageContainer) -> None:
    assert container.load(MODEL_NAME).status_code == 200
    assert container.models() == [MODEL_NAME]
    response = container.invoke(MODEL_NAME, [[0.5], [3.5]])
    assert (response.status_code, response.json()) == (200, [0, 1])
    assert container.client.unload(MODEL_NAME).status_code == 200
    assert container.models() == []
    assert container.invoke(MODEL_NAME, [[0.5]]).status_code == 404


def test_models_folder_is_read_only(container: ImageContainer) -> None:
    done = docker("exec", container.id, "touch", f"/opt/ml/models/{MODEL_NAME}/model/new", check=False)

    assert "Read-only file system" in done.stderr


def test_health_check_passes_while_it_serves(container: ImageContainer) -> None:
    assert health_check(container.id).returncode == 0


def test_health_check_fails_if_nothing_serves(image: str) -> None:
    with detached(image, "sleep", "infinity") as container:
        assert health_check(container).returncode == 1


def test_port_can_be_set(image: str) -> None:
    options = ["--env=SAGEMAKER_BIND_TO_PORT=9090", "--env=SAGEMAKER_MULTI_MODEL=true"]
    with serving(image, *options, port=9090) as started:
        assert started.models() == []
        assert health_check(started.id).returncode == 0


def test_single_model_is_served(sklearn_image: str, models: Path) -> None:
    with serving(sklearn_image, f"--volume={models / MODEL_NAME / 'model'}:/opt/ml/model:ro") as started:
        response = started.http.post("/invocations", json=[[0.5], [3.5]])

        assert (response.status_code, response.json()) == (200, [0, 1])


def test_sigterm_stops_it_in_time(front: str, image: str, models: Path) -> None:
    options = [
        "--env=SAGEMAKER_MULTI_MODEL=true",
        f"--env=POLYHOST_FRONTEND={front}",
        f"--volume={models}:/opt/ml/models:ro",
    ]
    with serving(image, *options) as started:
        assert started.load(MODEL_NAME).status_code == 200
        start = time.monotonic()
        docker("stop", "-t", "30", started.id)
        stop_s = time.monotonic() - start

        assert started.state["ExitCode"] == 0, started.logs
        assert stop_s < STOP_SECONDS


def test_invalid_setting_is_a_clear_error(image: str) -> None:
    done = run(image, "serve", options=("--env=SAGEMAKER_BIND_TO_PORT=eighty",))

    assert done.returncode != 0
    assert "SAGEMAKER_BIND_TO_PORT='eighty'" in done.stdout + done.stderr


def health_check(container: str) -> subprocess.CompletedProcess[str]:
    """Run the health check: not every engine does."""
    kind, *command = inspect(container)["Config"]["Healthcheck"]["Test"]
    assert kind == "CMD"
    return docker("exec", container, *command, check=False)
