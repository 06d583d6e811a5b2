"""Wheels of an archive, installed in a container that has no network, as SageMaker's network isolation has it."""

from pathlib import Path

import pytest

from tests.image.engine import BUILD_SECONDS, detached, docker
from tests.support.packages import make_wheel
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.image, pytest.mark.timeout(BUILD_SECONDS)]

SCRIPT = """
import greeting, numpy
def model_fn(model_dir):
    return greeting.VERSION
def transform_fn(model, body, content_type, accept):
    return model, "text/plain"
"""


def test_wheels_without_a_network(front: str, sklearn_image: str, tmp_path: Path) -> None:
    code = tmp_path / "models" / "greeter" / "model" / "code"
    code.mkdir(parents=True)
    tmp_path.chmod(0o755)
    (code / "inference.py").write_text(SCRIPT)
    (code / "requirements.txt").write_text("greeting==2.0\nnumpy>=1.20\n")
    make_wheel(code / "wheels", "greeting", "2.0", requires=["words"])
    make_wheel(code / "wheels", "words")
    options = (
        "--network=none",
        "--env=SAGEMAKER_MULTI_MODEL=true",
        f"--env=POLYHOST_FRONTEND={front}",
        "--env=POLYHOST_REQUIREMENTS=wheels",
        f"--volume={tmp_path / 'models'}:/opt/ml/models:ro",
        "--memory=2g",
    )
    with detached(sklearn_image, "serve", options=options) as container:

        def polyhost(*arguments: str) -> str | None:
            done = docker("exec", container, "polyhost", "models", *arguments, check=False)
            return done.stdout if done.returncode == 0 else None

        wait_for(lambda: polyhost("list") is not None, "the container")
        loaded = polyhost("load", "greeter", "/opt/ml/models/greeter/model")
        logs = docker("logs", container)
        assert loaded is not None, logs.stdout + logs.stderr
        docker("exec", container, "sh", "-c", "echo hello > /tmp/body.txt")
        assert polyhost("invoke", "greeter", "--body", "/tmp/body.txt") == "2.0"
        assert "installed greeting==2.0, words==1.0" in docker("logs", container).stdout
        found = docker("exec", container, "ls", "/var/lib/polyhost/layers/layers").stdout.split()
        assert len(found) == 1
