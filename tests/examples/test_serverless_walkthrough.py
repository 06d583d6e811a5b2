"""examples/serverless_api/README.md, followed step by step: the SAM CLI, the AWS CLI and curl."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulator.conftest import REGION
from tests.emulator.moto_services.state.conftest import Durable, durable
from tests.support.container import ROOT
from tests.support.sam_cli import PYTHON, SamCli, installed_sam

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

STEPS = re.findall(r"^   ```sh\n(.*?)^   ```", (ROOT / "examples/serverless_api/README.md").read_text(), re.M | re.S)


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Durable]:
    for package in ("sklearn", "awslambdaric", "obstore"):
        pytest.importorskip(package)
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    installed_sam()
    with durable(tmp_path / "state") as emulator:
        yield emulator


def _folder(tmp_path: Path) -> Path:
    """Return a folder that has of a checkout what the README needs, for the Python that runs this."""
    folder = tmp_path / "checkout"
    for part in ("deploy/lambda", "examples"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    template = folder / "deploy" / "lambda" / "template.yaml"
    template.write_text(template.read_text().replace("Default: python3.11\n", f"Default: {PYTHON}\n"))
    return folder


def _left(emulator: Durable) -> list[str]:
    """Return the names of what there is."""
    client = emulator.client
    return [
        *(item["Name"] for item in client("s3").list_buckets()["Buckets"]),
        *(item["FunctionName"] for item in client("lambda").list_functions()["Functions"]),
        *(item["name"] for item in client("apigateway").get_rest_apis()["items"]),
        *(item["name"] for item in client("apigateway").get_api_keys()["items"]),
        *(item["name"] for item in client("apigateway").get_usage_plans()["items"]),
        *(item["RoleName"] for item in client("iam").list_roles()["Roles"]),
        *(item["logGroupName"] for item in client("logs").describe_log_groups()["logGroups"]),
    ]


def test_the_readme_works_as_written(tmp_path: Path, emulator: Durable) -> None:
    folder = _folder(tmp_path)
    cli = SamCli(emulator.emulator.url, REGION, folder, {"PYTHONWARNINGS": "ignore"})
    train, deploy, call, delete = STEPS
    printed = cli.shell(f"{train}{deploy}echo called:\n{call}\necho deleted:\n{delete}")
    (expected,) = re.findall(r"^the classifier takes them for (.*)$", printed, re.M)
    refused, classes = printed.partition("called:\n")[2].partition("deleted:\n")[0].split(maxsplit=1)
    assert (refused, json.loads(classes)) == ("403", json.loads(expected)), printed
    assert _left(emulator) == [], printed
