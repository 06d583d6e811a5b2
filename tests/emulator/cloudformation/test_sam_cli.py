"""A scikit-learn model behind an API with a key, from an empty bucket to its deletion, by the real SAM and AWS CLI."""

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import pytest

from tests.emulator.conftest import REGION
from tests.emulator.moto_services.state.conftest import Durable, durable
from tests.support.packages import make_wheel
from tests.support.sam_cli import PYTHON, SamCli, installed_sam
from tests.support.waiting import wait_for

pytest.importorskip("awslambdaric")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

BUCKET, STACK, MODEL = "bucket-moons", "moons", "forest.p"
# The model is loaded anew in each call: most functions are written like this at first.
SOURCE = """
    import json
    import os
    import pickle

    import boto3
    import sklearn
    from sklearn.ensemble import RandomForestClassifier

    store = boto3.client("s3")
    bucket = os.environ["s3_bucket"]
    name = os.environ["model_name"]
    copy = "/tmp/" + name

    def lambda_handler(event, context):
        values = json.loads(event["body"])
        store.download_file(bucket, name, copy)
        with open(copy, "rb") as file:
            forest = pickle.load(file)
        label = forest.predict([[float(values["data1"]), values["data2"]]])[0]
        return {"statusCode": 200, "body": json.dumps({"prediction": str(label)})}
"""
TEMPLATE = f"""
    AWSTemplateFormatVersion: '2010-09-09'
    Transform: AWS::Serverless-2016-10-31
    Description: Classifies points of two moons
    Parameters:
      Memory:
        Type: Number
        Default: 1024
    Globals:
      Function:
        Timeout: 300
      Api:
        Auth:
          ApiKeyRequired: true
          UsagePlan:
            CreateUsagePlan: PER_API
    Resources:
      Classifier:
        Type: AWS::Serverless::Function
        Properties:
          CodeUri: code/
          Handler: app.lambda_handler
          Runtime: {PYTHON}
          MemorySize: !Ref Memory
          Policies:
            - S3ReadPolicy:
                BucketName: {BUCKET}
          Environment:
            Variables:
              s3_bucket: {BUCKET}
              model_name: {MODEL}
          Events:
            Classify:
              Type: Api
              Properties:
                Path: /classify
                Method: post
    Outputs:
      Url:
        Description: Where the stage answers on AWS
        Value: !Sub https://${{ServerlessRestApi}}.execute-api.${{AWS::Region}}.amazonaws.com/Prod/classify/
      Key:
        Value: !Ref ServerlessRestApiApiKey
"""


@dataclass(frozen=True)
class Project:
    """The folder of an application, with its model and what the model says."""

    folder: Path
    point: dict[str, Any]
    label: str
    wheels: Path


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    datasets, ensemble = pytest.importorskip("sklearn.datasets"), pytest.importorskip("sklearn.ensemble")
    installed_sam()
    folder = tmp_path_factory.mktemp("moons")
    points, labels = datasets.make_moons(n_samples=100, noise=0.25, random_state=3)
    forest = ensemble.RandomForestClassifier(n_estimators=5, random_state=0).fit(points, labels)
    (folder / MODEL).write_bytes(pickle.dumps(forest))
    (folder / "template.yaml").write_text(dedent(TEMPLATE))
    code = folder / "code"
    code.mkdir()
    (code / "app.py").write_text(dedent(SOURCE))
    # scikit-learn is the emulator's own; a small package of ours shows that `sam build` takes what is asked for.
    (code / "requirements.txt").write_text("points==1.0\n")
    wheels = folder / "wheels"
    make_wheel(wheels, "points")
    point = {"data1": str(points[0][0]), "data2": float(points[0][1])}
    return Project(folder, point, str(forest.predict(points[:1])[0]), wheels)


class Walk:
    """One emulator, and the commands of the walkthrough in it."""

    def __init__(self, emulator: Durable, project: Project) -> None:
        self._emulator = emulator
        self._project = project
        environ = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(project.wheels)}
        self.cli = SamCli(emulator.emulator.url, REGION, project.folder, environ)

    def upload(self) -> None:
        self.cli.aws("s3", "mb", f"s3://{BUCKET}")
        self.cli.aws("s3", "cp", MODEL, f"s3://{BUCKET}")

    def deploy(self, memory: int) -> None:
        self.cli.sam(
            *("deploy", "--stack-name", STACK, "--s3-bucket", BUCKET, "--capabilities", "CAPABILITY_IAM"),
            *("--parameter-overrides", f"Memory={memory}", "--no-confirm-changeset"),
        )

    def answers(self) -> None:
        """Ask with the key and without."""
        (stack,) = self._emulator.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
        outputs = {item["OutputKey"]: item["OutputValue"] for item in stack["Outputs"]}
        assert outputs["Url"].endswith(f".execute-api.{REGION}.amazonaws.com/Prod/classify/")
        key = self._emulator.client("apigateway").get_api_key(apiKey=outputs["Key"], includeValue=True)["value"]
        apis = httpx.get(f"{self.cli.url}/_polyhost/apis", timeout=300.0, trust_env=False).json()["apis"]
        (url,) = [f"{item['url']}classify/" for item in apis if item["stage"] == "Prod"]
        for headers in ({}, {"x-api-key": "0" * 40}):
            refused = self._ask(url, headers)
            assert (refused.status_code, refused.json()) == (403, {"message": "Forbidden"})

        def answer() -> httpx.Response | None:
            found = self._ask(url, {"x-api-key": key})
            return found if found.status_code != 504 else None  # scikit-learn is still being imported

        response = wait_for(answer, "the answer of the function", timeout_s=600.0)
        assert (response.status_code, response.json()) == (200, {"prediction": self._project.label}), self._emulator.log

    def _ask(self, url: str, headers: dict[str, str]) -> httpx.Response:
        return httpx.post(url, json=self._project.point, headers=headers, timeout=300.0, trust_env=False)

    def memory(self) -> int:
        (function,) = self._emulator.client("lambda").list_functions()["Functions"]
        return int(function["MemorySize"])

    def delete(self) -> None:
        self.cli.sam("delete", "--stack-name", STACK, "--no-prompts", "--region", REGION)
        assert self.left() == []

    def left(self) -> list[Any]:
        """Return what there is of the application, apart from its bucket with the model."""
        client = self._emulator.client
        objects = client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return [
            *client("lambda").list_functions()["Functions"],
            *client("apigateway").get_rest_apis()["items"],
            *client("apigateway").get_api_keys()["items"],
            *client("apigateway").get_usage_plans()["items"],
            *client("iam").list_roles()["Roles"],
            *(item["Key"] for item in objects if item["Key"] != MODEL),
        ]


@pytest.fixture
def walk(tmp_path: Path, project: Project) -> Iterator[Walk]:
    with durable(tmp_path / "state") as emulator:
        walk = Walk(emulator, project)
        walk.upload()
        walk.cli.sam("build")
        yield walk


def test_the_walkthrough_twice_and_after_a_restart(tmp_path: Path, project: Project) -> None:
    with durable(tmp_path / "state") as first:
        walk = Walk(first, project)
        walk.upload()
        assert walk.left() == []
        walk.cli.sam("build")
        assert (project.folder / ".aws-sam" / "build" / "Classifier" / "points.py").exists()
        for _ in range(2):
            walk.deploy(1024)
            walk.answers()
            walk.deploy(1536)
            assert walk.memory() == 1536
            walk.answers()
            walk.delete()
        walk.deploy(1024)
        first.kill()
    with durable(tmp_path / "state") as second:
        walk = Walk(second, project)
        walk.answers()
        walk.deploy(1536)
        walk.answers()
        walk.delete()


def test_package_and_cloudformation_deploy(walk: Walk) -> None:
    walk.cli.sam("package", "--s3-bucket", BUCKET, "--output-template-file", "packaged.yaml")
    command = ("cloudformation", "deploy", "--template-file", "packaged.yaml", "--stack-name", STACK, "--capabilities")
    walk.cli.aws(*command, "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND")
    walk.answers()
    walk.delete()


def test_a_stack_that_fails_leaves_nothing(walk: Walk, project: Project) -> None:
    template = dedent(TEMPLATE).replace("app.lambda_handler", "no handler")
    (project.folder / "broken.yaml").write_text(template)
    walk.cli.sam("build", "--template-file", "broken.yaml", "--build-dir", "broken")
    said = walk.cli.sam(
        *("deploy", "--template-file", "broken/template.yaml", "--stack-name", STACK, "--s3-bucket", BUCKET),
        *("--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--on-failure", "ROLLBACK"),
        fails=True,
    )
    assert "CREATE_FAILED" in said and "ROLLBACK_COMPLETE" in said, said
    walk.cli.sam("delete", "--stack-name", STACK, "--no-prompts", "--region", REGION)
    assert walk.left() == []
