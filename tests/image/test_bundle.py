"""A bundle with a saved image, on an engine that has lost the image, without a network."""

import json
import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.image.engine import BUILD_SECONDS, REPOSITORY, docker
from tests.support.command import run_polyhost
from tests.support.model_store import put, says
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.image, pytest.mark.timeout(2 * BUILD_SECONDS)]

RECIPE = REPOSITORY / "deploy" / "greengrass" / "recipe.yaml"
# Inside the container: with --network none there is no other way to its port.
CALL = """
import urllib.request
headers = {"Content-Type": "application/json", "X-Amzn-SageMaker-Target-Model": "m.tar.gz"}
request = urllib.request.Request("http://127.0.0.1:8080/invocations", b"{}", headers)
print(urllib.request.urlopen(request, timeout=60).read().decode())
"""


@pytest.fixture(scope="module")
def bundle(sklearn_image: str, unique_tag: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make a bundle with an image under a name of its own, and have the engine forget that name."""
    folder = tmp_path_factory.mktemp("edge")
    put(folder / "store", "m.tar.gz", says("from the edge"))
    image = f"polyhost-edge:{unique_tag}"
    docker("tag", sklearn_image, image)
    target = folder / "bundle"
    options = ("--store", folder / "store", "--image", image, "--save-image", "--engine", "docker")
    done = run_polyhost("bundle", target, *options, "--set", "POLYHOST_ZYGOTES=bare", timeout_s=BUILD_SECONDS)
    assert done.returncode == 0, done.stderr
    docker("rmi", "--no-prune", image)
    yield target
    names = docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    ours = [name for name in names if name.endswith((loaded_name(target), image))]
    docker("rmi", "--force", "--no-prune", *ours, check=False)


def loaded_name(bundle: Path) -> str:
    (digest,) = re.findall(r"^(.{16}).*  image\.tar$", (bundle / "SHA256SUMS").read_text(), re.MULTILINE)
    return f"polyhost-bundle:{digest}"


def shell(
    command: str | list[str], environ: dict[str, str], timeout: float = BUILD_SECONDS
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        shell=isinstance(command, str),
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
        timeout=timeout,
    )


def answer(name: str) -> str:
    """Return the model's answer once there is one."""
    return str(wait_for(lambda: docker("exec", name, "python", "-c", CALL, check=False).stdout.strip(), "an answer"))


def test_the_manifest_has_the_saved_images_name(bundle: Path, unique_tag: str) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["image_saved"] and manifest["image"].endswith(f"polyhost-edge:{unique_tag}")
    assert docker("image", "inspect", manifest["image"], check=False).returncode != 0


def test_it_is_loaded_and_answers_without_a_network(bundle: Path) -> None:
    name = f"polyhost-edge-{uuid.uuid4().hex[:12]}"
    done = shell([str(bundle / "run"), "--detach", "--name", name, "--network", "none"], {"ENGINE": "docker"})
    assert done.returncode == 0, done.stderr
    try:
        assert answer(name) == "from the edge"
        assert docker("inspect", "--format", "{{.HostConfig.NetworkMode}}", name).stdout.strip() == "none"
    finally:
        docker("rm", "--force", name)
    again = shell([str(bundle / "run"), "--prepare"], {"ENGINE": "docker"})
    assert (again.returncode, again.stderr) == (0, "")  # the image is there, under the name made of its checksum


def test_an_image_that_is_nowhere_is_named(engine: None, bundle: Path, tmp_path: Path) -> None:
    store = bundle.parent / "store"
    options = ("--store", store, "--image", "polyhost-none:1")
    assert run_polyhost("bundle", tmp_path / "bundle", *options).returncode == 0
    done = shell([str(tmp_path / "bundle" / "run")], {"ENGINE": "docker"})
    assert done.returncode == 1
    assert done.stderr.startswith(
        "run: docker has no image polyhost-none:1; load it, or make the bundle with --save-image"
    )
    done = run_polyhost("bundle", tmp_path / "saved", *options, "--save-image", "--engine", "docker")
    assert done.returncode == 1 and "polyhost-none:1" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "saved").exists()


def test_the_scripts_of_the_greengrass_component_run_it(bundle: Path, tmp_path: Path) -> None:
    """As its nucleus does: the zip unpacked without modes, variables replaced, steps in order."""
    artifacts = tmp_path / "artifacts"
    unpacked = artifacts / "bundle"
    unpacked.mkdir(parents=True)
    assert shell(f"cp -r --no-preserve=mode '{bundle}/.' '{unpacked}'", {}).returncode == 0
    recipe = yaml.safe_load(RECIPE.read_text())
    configuration = {**recipe["ComponentConfiguration"]["DefaultConfiguration"], "Port": "0"}

    def filled(text: str) -> str:
        text = text.replace("{artifacts:decompressedPath}", str(artifacts))
        return re.sub(r"\{configuration:/(\w+)\}", lambda found: configuration[found[1]], text)

    (manifest,) = recipe["Manifests"]
    commands = {name: filled(step["Script"]) for name, step in manifest["Lifecycle"].items()}
    environ = {
        name: {key: filled(value) for key, value in step.get("Setenv", {}).items()}
        for name, step in manifest["Lifecycle"].items()
    }
    done = shell(commands["install"], environ["install"])
    assert done.returncode == 0, done.stderr
    log = (tmp_path / "log").open("w")
    running = subprocess.Popen(
        commands["run"], shell=True, env={**os.environ, **environ["run"]}, stdout=log, stderr=log
    )
    try:
        assert answer("polyhost-bundle") == "from the edge"
        assert docker("inspect", "--format", "{{.HostConfig.Memory}}", "polyhost-bundle").stdout.strip() == str(2 << 30)
    finally:
        done = shell(commands["shutdown"], {})
        log.close()
    assert done.returncode == 0, done.stderr
    running.wait(120)
