"""The docker command, and containers that serve, for the image tests."""

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

REPOSITORY = Path(__file__).parents[2]
BUILD_SECONDS = 1200
READY_SECONDS = 90


def docker(
    *arguments: str, timeout: float = 120, check: bool = True, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout, env=environ)
    if check and done.returncode:
        raise AssertionError(
            f"docker {' '.join(arguments)}: exit {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
    return done


def missing_engine() -> str | None:
    """Why there is no engine, or None where one answers."""
    if not shutil.which("docker"):
        return "the command 'docker' is not on PATH"
    done = docker("version", check=False)
    return None if done.returncode == 0 else f"no container engine answers: {done.stderr.strip()[-200:]}"


@contextmanager
def built(tag: str, folder: Path = REPOSITORY, *options: str) -> Iterator[str]:
    """An image of the folder, under the tag; its layers stay afterwards, as the engine's cache for the next build."""
    docker("build", "--tag", tag, *options, str(folder), timeout=BUILD_SECONDS)
    try:
        yield tag
    finally:
        docker("rmi", "--force", "--no-prune", tag)


def inspect(name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(docker("inspect", name).stdout)
    return found[0]


def run(image: str, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """The container's own exit status; not by `docker run --rm`, for which some engines report 0 whatever happened."""
    name = f"polyhost-{uuid.uuid4().hex}"
    try:
        return docker("run", "--name", name, *options, image, *arguments, check=False)
    finally:
        docker("rm", "--force", "--volumes", name)


@dataclass(frozen=True)
class Container:
    id: str
    client: httpx.Client

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = inspect(self.id)["State"]
        return state

    @property
    def logs(self) -> str:
        done = docker("logs", self.id)
        return done.stdout + done.stderr

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers_ping():
            assert self.state["Running"], f"the container ended before it was ready:\n{self.logs}"
            assert time.monotonic() < deadline, f"no /ping within {READY_SECONDS} s:\n{self.logs}"
            time.sleep(0.1)

    def _answers_ping(self) -> bool:
        try:
            return self.client.get("/ping").status_code == 200
        except httpx.TransportError:
            return False

    def load(self, name: str) -> httpx.Response:
        return self.client.post("/models", json={"model_name": name, "url": f"/opt/ml/models/{name}/model"})

    def models(self) -> list[str]:
        return [model["modelName"] for model in self.client.get("/models").json()["models"]]


@contextmanager
def detached(image: str, *arguments: str, options: tuple[str, ...] = ()) -> Iterator[str]:
    """The id of a container that runs meanwhile."""
    container = docker("run", "--detach", *options, image, *arguments).stdout.strip()
    try:
        yield container
    finally:
        docker("rm", "--force", "--volumes", container)


@contextmanager
def serving(image: str, *options: str, port: int = 8080) -> Iterator[Container]:
    """A container of the image, once it answers /ping."""
    with detached(image, "serve", options=(f"--publish=127.0.0.1::{port}", *options)) as container:
        address = docker("port", container, str(port)).stdout.split()[0]
        with httpx.Client(base_url=f"http://{address}", timeout=60, trust_env=False) as client:
            started = Container(container, client)
            try:
                started.wait_until_ready()
                yield started
            except BaseException:
                print(started.logs)  # pytest shows it beside what failed
                raise


def script(*arguments: str, environ: Mapping[str, str], timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """build_and_push.sh in exactly this environment."""
    command = [str(REPOSITORY / "build_and_push.sh"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=dict(environ))


def path_with_aws() -> str:
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
