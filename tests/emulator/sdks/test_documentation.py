"""The examples of docs/sdks.md, run as they stand."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulator.archives import archive
from tests.emulator.conftest import Local
from tests.emulator.sdks.environments import python_with
from tests.support.container import ROOT

TEXT = (ROOT / "docs" / "sdks.md").read_text()
EXAMPLES = dict(re.findall(r"```\w+\n(?:#|//) (\S+)\n(.*?)```", TEXT, re.DOTALL))


@pytest.fixture
def folder(local: Local, tmp_path: Path) -> Iterator[Path]:
    """Return a folder with an archive; what the example creates is deleted afterwards."""
    (tmp_path / "model.tar.gz").write_bytes(archive("flowers"))
    yield tmp_path
    local.sagemaker.delete_endpoint(EndpointName="flowers")
    local.wait("flowers", "endpoint_deleted")
    local.sagemaker.delete_endpoint_config(EndpointConfigName="flowers")
    for model in local.sagemaker.list_models()["Models"]:
        if model["ModelName"].startswith(("flowers", "my-image")):
            local.sagemaker.delete_model(ModelName=model["ModelName"])
    for bucket in local.s3.list_buckets()["Buckets"]:
        if bucket["Name"] == "flowers":
            local.s3.delete_object(Bucket="flowers", Key="model.tar.gz")
            local.s3.delete_bucket(Bucket="flowers")


@pytest.mark.timeout(1200)  # one of them makes the environment
@pytest.mark.parametrize("name", EXAMPLES)
def test_example_works_as_written(
    name: str, folder: Path, environ: dict[str, str], request: pytest.FixtureRequest
) -> None:
    (folder / name).write_text(EXAMPLES[name])
    command = _command(name, folder, request)
    own = {"HOME": str(folder), "PATH": f"{Path(sys.executable).parent}:{environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environ | own, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"name": "flowers"' in done.stdout


def _command(name: str, folder: Path, request: pytest.FixtureRequest) -> list[str | Path]:
    if name.endswith(".sh"):
        return ["sh", "-e", name]
    if name.endswith(".py"):
        return [python_with(name.removesuffix(".py")), name]
    (folder / "node_modules").symlink_to(request.getfixturevalue("node_folder") / "node_modules")
    return ["node", name]


def test_every_client_has_an_example() -> None:
    assert set(EXAMPLES) == {"v2.py", "v3.py", "cli.sh", "javascript.mjs"}
