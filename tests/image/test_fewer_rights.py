"""A read-only root, no capabilities, no new privileges and a plain user: the image serves all the same."""

from pathlib import Path

import pytest

from tests.image.conftest import MODEL_NAME
from tests.image.engine import BUILD_SECONDS, docker, serving

pytestmark = [pytest.mark.image, pytest.mark.timeout(BUILD_SECONDS)]

FEWER_RIGHTS = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--user=1000:1000")


def test_serves_with_fewer_rights(front: str, sklearn_image: str, models: Path) -> None:
    models.chmod(0o755)  # a folder that pytest makes is for its owner alone
    settings = ("--env=SAGEMAKER_MULTI_MODEL=true", f"--env=POLYHOST_FRONTEND={front}", "--memory=2g")
    with serving(sklearn_image, *FEWER_RIGHTS, *settings, f"--volume={models}:/opt/ml/models:ro") as container:
        status = docker("exec", container.id, "cat", "/proc/1/status").stdout
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert (facts["CapEff"].strip("0"), facts["NoNewPrivs"], facts["Uid"].split()[0]) == ("", "1", "1000")

        assert container.load(MODEL_NAME).status_code == 200
        response = container.invoke(MODEL_NAME, [[0.5], [3.5]])
        assert (response.status_code, response.json()) == (200, [0, 1])
        assert container.client.unload(MODEL_NAME).status_code == 200
