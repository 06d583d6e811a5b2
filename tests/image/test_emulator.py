"""The notebook as a script, against the emulator's docker driver and the real image."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.image.engine import REPOSITORY, docker
from tests.integration.test_emulator import REGION, invoke_more_than_fits, kill_under_load, running

pytestmark = pytest.mark.image


@pytest.mark.timeout(600)
def test_notebook_runs_against_containers_of_the_engine(image: str, tmp_path: Path) -> None:
    with running(tmp_path, "--driver", "docker") as local:
        environ = {
            "AWS_ENDPOINT_URL": local.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "HOME": str(tmp_path),
            "PATH": os.environ["PATH"],
        }
        command = [sys.executable, "-m", "examples.multi_model_endpoint", "--image", image, "--deep", "34"]
        done = subprocess.run(command, cwd=REPOSITORY, env=environ, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}\n{local.log.read_text()[-3000:]}"
        assert "100 calls of 12 models at random" in done.stdout
        assert "probability=" in done.stdout
    assert not docker("ps", "--all", "--filter", "name=demo-multimodelendpoint", "--format", "{{.Names}}").stdout


@pytest.mark.timeout(600)
def test_containers_of_the_engine_evict_models_and_are_restarted(sklearn_image: str, tmp_path: Path) -> None:
    with running(tmp_path, "--driver", "docker", "--memory-scale", "0.25") as local:
        invoke_more_than_fits(local, sklearn_image)
        kill_under_load(local, sklearn_image)
    assert not docker("ps", "--all", "--filter", "name=evicting-i", "--filter", "name=killed-i", "--quiet").stdout


@pytest.mark.timeout(120)
def test_image_without_the_label_is_rejected(engine: None, tmp_path: Path) -> None:
    with running(tmp_path, "--driver", "docker") as local:
        container = {"Image": "debian:bookworm-slim", "Mode": "MultiModel", "ModelDataUrl": "s3://sagemaker-models/x/"}
        with pytest.raises(local.sagemaker.exceptions.ClientError) as caught:
            local.sagemaker.create_model(
                ModelName="m", PrimaryContainer=container, ExecutionRoleArn="arn:aws:iam::123456789012:role/test"
            )
        assert "capabilities.multi-models=true Docker label" in str(caught.value)
        container["Image"] = "no-such-image:latest"
        with pytest.raises(local.sagemaker.exceptions.ClientError) as caught:
            local.sagemaker.create_model(
                ModelName="m", PrimaryContainer=container, ExecutionRoleArn="arn:aws:iam::123456789012:role/test"
            )
        assert "no-such-image:latest" in str(caught.value)
