"""The docker command, and containers that serve, for the image tests."""

import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from polyhost.client import PolyhostClient
from polyhost.end_guard import EndGuard
from tests.support.waiting import wait_for

REPOSITORY = Path(__file__).parents[2]
BUILD_SECONDS = 1200
READY_SECONDS = 90
TIMEOUT_SECONDS = 60


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
    """Return why there is no usable engine, or None."""
    if not shutil.which("docker"):
        return "the command 'docker' is not on PATH"
    done = docker("version", check=False)
    return None if done.returncode == 0 else f"no container engine answers: {done.stderr.strip()[-200:]}"


@contextmanager
def built(tag: str, folder: Path = REPOSITORY, *options: str) -> Iterator[str]:
    """Build the folder's image under the tag, and remove it afterwards; its layers stay as the engine's cache."""
    # A build that names its frameworks is one without PyTorch.
    torch = [] if any("FRAMEWORKS=" in option for option in options) else torch_arguments()
    docker("build", "--tag", tag, *torch, *options, str(folder), timeout=BUILD_SECONDS)
    try:
        yield tag
    finally:
        docker("rmi", "--force", "--no-prune", tag)


def torch_arguments() -> list[str]:
    """Return the build arguments for PyTorch's CPU build if this machine has the wheel; scripts/engine mounts it."""
    found = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.find-links"], capture_output=True, text=True
    )
    version = re.search(r"^torch==(\S+)", (REPOSITORY / "locks" / "torch-cpu.txt").read_text(), re.MULTILINE)
    assert version is not None
    for folder in found.stdout.split():
        if list(Path(folder).glob(f"torch-{version[1]}-*.whl")):
            return [f"--build-arg=TORCH_INDEX={folder}"]
    return []


def inspect(name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(docker("inspect", name).stdout)
    return found[0]


def run(image: str, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run a command. Not by `docker run --rm`: some engines report its exit status as 0 whatever happened."""
    name = f"polyhost-{uuid.uuid4().hex}"
    try:
        return docker("run", "--name", name, *options, image, *arguments, check=False)
    finally:
        docker("rm", "--force", "--volumes", name)


@dataclass(frozen=True)
class ImageContainer:
    """A container of the image, and clients for it; `http` is for requests that the other one does not have."""

    id: str
    client: PolyhostClient
    http: httpx.Client

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = inspect(self.id)["State"]
        return state

    @property
    def logs(self) -> str:
        done = docker("logs", self.id)
        return done.stdout + done.stderr

    def wait_until_ready(self) -> None:
        """Wait until /ping is answered with 200, or the container ends."""
        wait_for(lambda: self.client.ping() or not self.state["Running"], "a response to /ping", READY_SECONDS)
        assert self.state["Running"], f"the container ended before it was ready:\n{self.logs}"

    def load(self, name: str) -> httpx.Response:
        """Load a model of the mounted folder."""
        return self.client.load(name, f"/opt/ml/models/{name}/model")

    def invoke(self, name: str, rows: list[list[float]]) -> httpx.Response:
        """Invoke a model with JSON."""
        return self.client.invoke(name, json.dumps(rows), "application/json")

    def models(self) -> list[str]:
        """Return the names of all loaded models."""
        return [model.name for model in self.client.list_models()]


@contextmanager
def detached(image: str, *arguments: str, options: tuple[str, ...] = ()) -> Iterator[str]:
    """Run a container while the block runs, and yield its id. It is removed too if this process ends meanwhile."""
    container = docker("run", "--detach", *options, image, *arguments).stdout.strip()
    removal = ["rm", "--force", "--volumes", container]
    guard = EndGuard(["docker", *removal])
    try:
        yield container
    finally:
        docker(*removal)
        guard.cancel()


@contextmanager
def serving(image: str, *options: str, port: int = 8080) -> Iterator[ImageContainer]:
    """Run a container while the block runs, once /ping is answered with 200."""
    with detached(image, "serve", options=(f"--publish=127.0.0.1::{port}", *options)) as container:
        address = docker("port", container, str(port)).stdout.split()[0]
        url = f"http://{address}"
        with (
            PolyhostClient(url, timeout=TIMEOUT_SECONDS, raise_for_status=False) as client,
            httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False) as http,
        ):
            started = ImageContainer(container, client, http)
            try:
                started.wait_until_ready()
                yield started
            except BaseException:
                print(started.logs)  # pytest shows it beside what failed
                raise


def script(*arguments: str, environ: Mapping[str, str], timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run build_and_push.sh in exactly this environment."""
    command = [str(REPOSITORY / "build_and_push.sh"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=dict(environ))


def path_with_aws() -> str:
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def answers_without_network(image: str, models: Path, front: str) -> dict[str, str]:
    """Load each model of a folder, NAME/model, in a container without any network; return the answers to its body.json.

    The container's own command asks it, since no port is open to this machine.
    """
    for path in [models, *models.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    options = (
        "--network=none",
        "--env=SAGEMAKER_MULTI_MODEL=true",
        f"--env=POLYHOST_FRONTEND={front}",
        f"--volume={models}:/opt/ml/models:ro",
    )
    answers = {}
    with detached(image, "serve", options=options) as container:

        def polyhost(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
            return docker("exec", container, "polyhost", "models", *arguments, check=check)

        wait_for(lambda: polyhost("list", check=False).returncode == 0, "a list of models", 2 * READY_SECONDS)
        for name in sorted(path.name for path in models.iterdir()):
            polyhost("load", name, f"/opt/ml/models/{name}/model")
            answers[name] = polyhost("invoke", name, "--body", f"/opt/ml/models/{name}/body.json").stdout
    return answers
