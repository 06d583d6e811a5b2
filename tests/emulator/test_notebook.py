"""AWS's notebook on multi-model endpoints against the emulator: as our script, and its own cells unchanged."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyhost.processes import RunningEmulator, running_emulator
from tests.support.emulator import boto3_client

ROOT = Path(__file__).parents[2]
SEEDS = ROOT.parent / "shared" / "seeds"
REGION = "ap-northeast-2"
# Runs before the cells. What the notebook downloads is copied from DOWNLOADS; the SDK is asked for a role only.
PREAMBLE = """
import os, pathlib, shutil, sys, types

def download(url, fname=None, dirname=None, **_):
    name = fname or url.rsplit("/", 1)[-1]
    folder = pathlib.Path(dirname or ".")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(pathlib.Path(os.environ["DOWNLOADS"], name), folder / name)
    return str(folder / name)

mxnet = types.ModuleType("mxnet")
mxnet.test_utils = types.SimpleNamespace(download=download)
sagemaker = types.ModuleType("sagemaker")
sagemaker.get_execution_role = lambda: "arn:aws:iam::123456789012:role/notebook"
sys.modules.update(mxnet=mxnet, sagemaker=sagemaker)
"""
# In a process of its own, which may have MXNet's warnings. One small network stands for all three.
EXPORT = """
from pathlib import Path
import shutil, sys
from examples.multi_model_endpoint import _picture, export
folder = Path(sys.argv[1])
export("squeezenet1_1", folder / "resnet-18")
for name in ("resnet-152", "squeezenet_v1.0"):
    for ending in ("-symbol.json", "-0000.params"):
        shutil.copyfile(folder / f"resnet-18{ending}", folder / f"{name}{ending}")
(folder / "cat.jpg").write_bytes(_picture(None))
"""


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    """`polyhost emulator`, hosting `polyhost serve`."""
    with running_emulator(tmp_path_factory.mktemp("emulator")) as local:
        yield local


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the notebook downloads, under their names."""
    folder = tmp_path_factory.mktemp("downloads")
    subprocess.run([sys.executable, "-c", EXPORT, folder], cwd=ROOT, check=True, capture_output=True)
    return folder


def environment(local: RunningEmulator, **others: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | local.environ(REGION) | others


def cells(notebook: str) -> list[str]:
    """The cells of Python. Its prose is Korean, so a cell ends with the first line that is not ASCII."""
    found = []
    for cell in notebook.split("\nIn [None]:\n")[1:]:
        code = re.split(r"^.*[^\x00-\x7f].*$", cell, maxsplit=1, flags=re.MULTILINE)[0]
        if not code.startswith(("!", "%%sh")):
            found.append(code.replace("%%time\n", ""))
    return found


@pytest.mark.timeout(300)
def test_the_notebooks_own_cells(local: RunningEmulator, downloads: Path, tmp_path: Path) -> None:
    seeds = sorted(SEEDS.glob("001*.txt"))
    if not seeds:
        pytest.skip(f"the notebook is not at {SEEDS}")
    code = cells(seeds[0].read_text(encoding="utf-8"))
    assert sum("sm_client." in cell for cell in code) >= 8
    script = tmp_path / "notebook.py"
    script.write_text("\n\n".join([PREAMBLE, *code]))
    environ = environment(local, DOWNLOADS=str(downloads))
    ran = subprocess.run([sys.executable, script], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Number of models: 12" in ran.stdout
    counts = [int(count) for count in re.findall(r"^\('probability=.*', (\d+)\)$", ran.stdout, re.MULTILINE)]
    assert sum(counts) == 100


@pytest.mark.timeout(300)
def test_the_script(local: RunningEmulator, downloads: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.multi_model_endpoint", "--deep", "34", "--data", str(tmp_path)]
    make = """
import sys; from pathlib import Path
import examples.multi_model_endpoint as example
for name in ("resnet_18", "resnet_34", "squeezenet_v1.0"):
    example.archive(Path(sys.argv[1]), name, "squeezenet1_1")
"""
    subprocess.run([sys.executable, "-c", make, tmp_path], cwd=ROOT, check=True, capture_output=True)
    ran = subprocess.run(command, cwd=ROOT, env=environment(local), capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Number of models: 12" in ran.stdout
    assert "100 calls of 12 models at random" in ran.stdout
    assert "resnet_18_v2.tar.gz" in ran.stdout
    sagemaker = boto3_client(local.url, "sagemaker", REGION)
    for endpoint in sagemaker.list_endpoints()["Endpoints"]:  # the script does not wait for the last of it
        sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=endpoint["EndpointName"])
    for operation in ("list_models", "list_endpoint_configs", "list_endpoints"):
        answer = getattr(sagemaker, operation)()
        assert [value for name, value in answer.items() if name != "ResponseMetadata"] == [[]]
