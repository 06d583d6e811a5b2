"""Containers that tests start end with the tests' process."""

import subprocess
import sys

import pytest

from tests.image.engine import BUILD_SECONDS, REPOSITORY, docker
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.image, pytest.mark.timeout(BUILD_SECONDS)]

STARTS_A_CONTAINER = """
import sys, time
from tests.image.engine import detached
with detached(sys.argv[1], "sleep", "600") as container:
    print(container, flush=True)
    time.sleep(600)
"""


def test_a_container_is_removed_when_its_starter_is_killed(sklearn_image: str) -> None:
    command = [sys.executable, "-c", STARTS_A_CONTAINER, sklearn_image]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        container = starter.stdout.readline().strip()
        assert docker("inspect", container, check=False).returncode == 0
        starter.kill()
    wait_for(lambda: docker("inspect", container, check=False).returncode != 0, "the removal of the container")
