"""deploy/lambda/template.yaml: what a stack of it makes, and how its API answers.

tests/examples/test_serverless_walkthrough.py deploys it by the SAM CLI.
"""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.server import Emulator
from tests.emulator.cloudformation.harness import StackClient
from tests.emulator.conftest import COMMAND, REGION, Local
from tests.emulator.functions.harness import Lambda, function_zip
from tests.support.container import ROOT
from tests.support.model_store import TARGET, archive_of
from tests.support.waiting import wait_for

for package in ("awslambdaric", "obstore"):
    pytest.importorskip(package)

FOLDER = ROOT / "deploy" / "lambda"
TEMPLATE = FOLDER / "template.yaml"
# Bytes come back reversed, and text says what the environment of the model has in NAMES.
SCRIPT = """
import json, os

NAMES = ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "POLYHOST_LOAD_AT_START")

def model_fn(folder):
    return None

def transform_fn(model, body, content_type, accept):
    if content_type == "application/octet-stream":
        return bytes(body)[::-1], content_type
    return json.dumps([os.environ.get(name) for name in NAMES]), "application/json"
"""
BYTES = {"content-type": "application/octet-stream", "accept": "application/octet-stream"}


@pytest.fixture(scope="module")
def local_with_functions() -> Iterator[Local]:
    with Emulator(EmulatorConfig(port=0, command=COMMAND)) as emulator:
        yield Local(emulator)


@pytest.fixture
def stacks(local_with_functions: Local) -> Iterator[StackClient]:
    client = StackClient(local_with_functions, f"t-{uuid.uuid4().hex[:10]}")
    yield client
    client.delete_all()


def _request(stacks: StackClient, **parameters: str) -> dict[str, Any]:
    """Return CreateStack's members for the archives below the stack's name; the function's zip has app.py alone."""
    code = f"{stacks.prefix}-code.zip"
    stacks.local.s3.put_object(Bucket="models", Key=code, Body=function_zip(app=(FOLDER / "app.py").read_text()))
    text = TEMPLATE.read_text()
    assert text.count("CodeUri: .\n") == 1
    given = {"ModelBucket": "models", "ModelPrefix": f"{stacks.prefix}/", "Frameworks": "bare", **parameters}
    return {
        "StackName": stacks.prefix,
        "TemplateBody": text.replace("CodeUri: .\n", f"CodeUri: s3://models/{code}\n"),
        "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()],
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    }


def _deployed(stacks: StackClient, **parameters: str) -> str:
    stack: str = stacks.cloudformation.create_stack(**_request(stacks, **parameters))["StackId"]
    stacks.made.append(stack)
    stacks.wait("create", stack)
    return stack


def test_cfn_lint() -> None:
    program = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([program, "--", str(TEMPLATE)], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "")


def test_models_behind_a_key(stacks: StackClient) -> None:
    stacks.local.s3.put_object(
        Bucket="models", Key=f"{stacks.prefix}/team/a.tar.gz", Body=archive_of("empty", inference__py=SCRIPT)
    )
    stack = _deployed(stacks, MemorySize="512", LoadAtStart="team/a.tar.gz", Timeout="600", LogDays="7")
    outputs = stacks.outputs(stack)
    api = outputs["ApiId"]
    assert outputs["Address"] == f"https://{api}.execute-api.{REGION}.amazonaws.com/v1/models/"
    gateway, logs = (stacks.local.emulator.client(name, REGION) for name in ("apigateway", "logs"))
    assert [stage["stageName"] for stage in gateway.get_stages(restApiId=api)["item"]] == ["v1"]
    key = {"x-api-key": gateway.get_api_key(apiKey=outputs["KeyId"], includeValue=True)["value"]}
    group = f"/aws/lambda/{outputs['FunctionName']}"
    (found,) = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert found["retentionInDays"] == 7

    url = f"{stacks.local.emulator.url}/restapis/{api}/v1/_user_request_"
    with httpx.Client(timeout=600.0, trust_env=False) as http:
        for path in ("/models/team/a.tar.gz", "/invocations"):
            assert http.post(f"{url}{path}", content=b"1").json() == {"message": "Forbidden"}
        answer = http.post(f"{url}/models/team/a.tar.gz", json=1, headers=key)
        assert (answer.status_code, answer.json()) == (200, ["512", "team/a.tar.gz"])
        answer = http.post(f"{url}/models/team/a.tar.gz", content=b"\x00\xff1", headers=key | BYTES)
        assert (answer.status_code, answer.content) == (200, b"1\xff\x00")
        assert http.post(f"{url}/invocations", json=1, headers=key | {TARGET: "team/a.tar.gz"}).status_code == 200
        missing = http.post(f"{url}/models/none.tar.gz", json=1, headers=key)
        assert (missing.status_code, missing.json()["type"]) == (404, "ModelNotFoundError")

    # What is published later would make the log group again, as on AWS.
    logged = Lambda(stacks.local.emulator).log_lines
    wait_for(lambda: sum("REPORT" in line for line in logged(outputs["FunctionName"])) == 4, "the lines of four calls")
    stacks.delete(stack)
    assert api not in [item["id"] for item in gateway.get_rest_apis()["items"]]
    assert outputs["KeyId"] not in [item["id"] for item in gateway.get_api_keys()["items"]]
    functions, roles = (stacks.local.emulator.client(name, REGION) for name in ("lambda", "iam"))
    names = [item["FunctionName"] for item in functions.list_functions()["Functions"]]
    names += [item["RoleName"] for item in roles.list_roles(MaxItems=1000)["Roles"]]
    names += [item["name"] for item in gateway.get_usage_plans()["items"]]
    names += [item["logGroupName"] for item in logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]]
    assert [name for name in names if stacks.prefix in name] == [], logged(outputs["FunctionName"])


def test_values_that_cannot_be_are_named(stacks: StackClient) -> None:
    message = stacks.error("create_stack", **_request(stacks, ModelPrefix="no-slash"))
    assert "ModelPrefix" in message and "ends in / (or is empty, for the whole bucket)" in message
