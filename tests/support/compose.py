"""Docker Compose, where it is installed."""

import shutil
import subprocess

import pytest


def docker_compose() -> list[str]:
    """Return the command of Docker Compose 2, or skip the test."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            done = subprocess.run([*command, "version", "--short"], capture_output=True, text=True, timeout=120)
            if done.returncode == 0 and not done.stdout.startswith("1."):
                return command
    pytest.skip("no Docker Compose 2 on PATH, neither as `docker compose` nor as `docker-compose`")
