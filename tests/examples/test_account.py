"""What the examples share, and what they may import."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from examples.account import CAPACITY, Account, Resources
from polyhost.processes import running_emulator
from tests.support.container import ROOT

IMPORT_NAMES = {"scikit-learn": "sklearn", "pillow": "PIL"}  # where they differ from the distributions'


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Take AWS's settings away, and boto3's memory of them."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "missing"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "missing"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    return monkeypatch


@pytest.fixture
def account(environment: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Account]:
    with running_emulator(tmp_path) as emulator:
        for name, value in emulator.environ("eu-west-1").items():
            environment.setenv(name, value)
        yield Account(None, None)


def _left(sagemaker: Any) -> list[Any]:
    return [
        *sagemaker.list_endpoints()["Endpoints"],
        *sagemaker.list_endpoint_configs()["EndpointConfigs"],
        *sagemaker.list_models()["Models"],
    ]


def test_without_settings_the_message_names_the_remedy(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as ended:
        Account(None, None)
    assert ended.value.code == (
        'You must specify a region. Set a region and credentials of AWS, or run: eval "$(polyhost emulator env)"'
    )
    environment.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    environment.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(SystemExit, match=r"Unable to locate credentials\. Set a region and credentials of AWS"):
        Account(None, None)


def test_an_endpoint_that_fails_leaves_nothing_and_says_why(account: Account, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tar.gz"
    broken.write_text("no archive")
    container = {"Image": account.image, "ModelDataUrl": account.upload(broken, "prefix")}
    variant = {"VariantName": "AllTraffic", "ModelName": "fails"}
    with pytest.raises(SystemExit, match=r"prefix/broken\.tar\.gz"), Resources(account) as resources:
        resources.create_model("fails", PrimaryContainer=container)
        resources.create_endpoint_config("fails", ProductionVariants=[variant | CAPACITY])
        assert len(_left(account.sagemaker)) == 2
        resources.create_endpoint("fails", "fails")
    assert _left(account.sagemaker) == []


def test_an_error_of_the_example_deletes_what_it_created(account: Account) -> None:
    with pytest.raises(ZeroDivisionError), Resources(account) as resources:
        resources.create_model("one", PrimaryContainer={"Image": account.image})
        resources.create_model("two", PrimaryContainer={"Image": account.image})
        raise ZeroDivisionError
    assert _left(account.sagemaker) == []


def _declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {re.split(r"[^A-Za-z0-9_.-]", line)[0] for lines in listed for line in lines}
    return {IMPORT_NAMES.get(name, name) for name in names}


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("*.py")), ids=lambda path: path.stem)
def test_examples_import_only_what_polyhost_installs(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_bytes())))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    packages = {name.partition(".")[0] for name in imported}
    ours = {"polyhost", "examples", "botocore", "tokenizers"}  # the last two come with boto3 and transformers
    assert packages - set(sys.stdlib_module_names) - ours - _declared() == set()
