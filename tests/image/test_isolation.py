"""A model that takes all processes that the container may have: others are served, and its unload frees them."""

import shutil
from pathlib import Path

import pytest

from tests.image.conftest import MODEL_NAME
from tests.image.engine import BUILD_SECONDS, serving

pytestmark = [pytest.mark.image, pytest.mark.timeout(BUILD_SECONDS)]

# Java's threads count as well.
LIMIT = 500
BOMB = """
import os
import signal


def model_fn(model_dir):
    return None


def transform_fn(model, body, content_type, accept):
    started = 0
    while True:
        try:
            if os.fork() == 0:
                signal.pause()
        except OSError:
            return str(started), "text/plain"
        started += 1
"""


def test_fork_bomb_does_not_affect_other_models(front: str, image: str, models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / MODEL_NAME, tmp_path / "neighbour")
    shutil.copytree(models / MODEL_NAME, tmp_path / "later")
    (tmp_path / "bomb" / "model").mkdir(parents=True)
    (tmp_path / "bomb" / "model" / "inference.py").write_text(BOMB)
    options = ["SAGEMAKER_MULTI_MODEL=true", f"POLYHOST_FRONTEND={front}", "POLYHOST_ZYGOTES=sklearn"]
    with serving(
        image, *(f"--env={option}" for option in options), f"--volume={tmp_path}:/opt/ml/models:ro",
        f"--pids-limit={LIMIT}",
    ) as container:  # fmt: skip
        for name in ("neighbour", "bomb"):
            assert container.load(name).status_code == 200

        started = int(container.client.invoke("bomb", "", "text/plain").text)

        assert started > 100
        for _ in range(20):
            response = container.invoke("neighbour", [[0.5], [3.5]])
            assert (response.status_code, response.json()) == (200, [0, 1])
        assert container.client.unload("bomb").status_code == 200
        assert container.load("later").status_code == 200
