"""The AWS CLI, with its waiters; it is one of the tools that scripts/install installs."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.emulator.archives import archive
from tests.support.waiting import wait_for

AWS = Path(sys.executable).with_name("aws")
ROLE = "arn:aws:iam::123456789012:role/test"
HOUR = timedelta(hours=1)
Aws = Callable[..., Any]


@pytest.fixture
def aws(environ: dict[str, str], tmp_path: Path) -> Aws:
    """Return a function that runs a command in the test's folder, and returns its JSON, or its error."""

    def run(*words: str, fails: bool = False) -> Any:
        done = subprocess.run([AWS, *words], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        if fails:
            return done.stderr
        return json.loads(done.stdout) if done.stdout.startswith("{") else None  # `s3` prints text

    return run


def _create(
    aws: Aws,
    name: str,
    *containers: dict[str, Any],
    model: Sequence[str] = (),
    config: Sequence[str] = (),
    **variant: Any,
) -> None:
    """Create a model, a configuration and an endpoint of one name, and wait. `model`, `config`: options of the two."""
    what = ("--containers", *map(json.dumps, containers))
    if len(containers) == 1:
        what = ("--primary-container", json.dumps(containers[0]))
    aws("sagemaker", "create-model", "--model-name", name, "--execution-role-arn", ROLE, *what, *model)
    capacity = variant or {"InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 1}
    variants = json.dumps([{"VariantName": "AllTraffic", "ModelName": name, **capacity}])
    request = ("--endpoint-config-name", name, "--production-variants", variants, *config)
    aws("sagemaker", "create-endpoint-config", *request)
    aws("sagemaker", "create-endpoint", "--endpoint-name", name, "--endpoint-config-name", name)
    aws("sagemaker", "wait", "endpoint-in-service", "--endpoint-name", name)


def _delete(aws: Aws, name: str) -> None:
    aws("sagemaker", "delete-endpoint", "--endpoint-name", name)
    aws("sagemaker", "wait", "endpoint-deleted", "--endpoint-name", name)
    aws("sagemaker", "delete-endpoint-config", "--endpoint-config-name", name)
    aws("sagemaker", "delete-model", "--model-name", name)


def _upload(aws: Aws, folder: Path, bucket: str, *models: str) -> None:
    (folder / "models").mkdir()
    for model in models:
        (folder / "models" / f"{model}.tar.gz").write_bytes(archive(model, quotes=True))
    aws(
        "s3api",
        "create-bucket",
        "--bucket",
        bucket,
        "--create-bucket-configuration",
        "LocationConstraint=ap-northeast-2",
    )
    aws("s3", "sync", "models", f"s3://{bucket}/models", "--only-show-errors")


def _invoke(aws: Aws, folder: Path, name: str, *options: str) -> dict[str, Any]:
    (folder / "body.txt").write_text("a question")
    request = ("--endpoint-name", name, "--body", "fileb://body.txt", *options, "out.json")
    response = aws("sagemaker-runtime", "invoke-endpoint", *request)
    assert response["InvokedProductionVariant"] == "AllTraffic"
    answer: dict[str, Any] = json.loads((folder / "out.json").read_text())
    return answer


def test_multi_model_endpoint(aws: Aws, tmp_path: Path, unused: Callable[[str], None]) -> None:
    name = "cli-multi-model"
    _upload(aws, tmp_path, name, "one", "two")
    _create(aws, name, {"Image": "small", "Mode": "MultiModel", "ModelDataUrl": f"s3://{name}/models/"})
    for model in ("one", "two"):
        answer = _invoke(aws, tmp_path, name, "--target-model", f"{model}.tar.gz", "--content-type", "text/plain")
        assert (answer["name"], answer["body"]) == (model, "a question")
    request = ("--endpoint-name", name, "--body", "fileb://body.txt", "--target-model", "three.tar.gz", "out.json")
    assert "ValidationError" in aws("sagemaker-runtime", "invoke-endpoint", *request, fails=True)

    weights = "VariantName=AllTraffic,DesiredInstanceCount=2"
    aws(
        "sagemaker",
        "update-endpoint-weights-and-capacities",
        *("--endpoint-name", name, "--desired-weights-and-capacities", weights),
    )
    aws("sagemaker", "wait", "endpoint-in-service", "--endpoint-name", name)
    (variant,) = aws("sagemaker", "describe-endpoint", "--endpoint-name", name)["ProductionVariants"]
    assert variant["CurrentInstanceCount"] == 2
    _delete(aws, name)
    unused(name)


def test_pipeline(aws: Aws, tmp_path: Path, unused: Callable[[str], None]) -> None:
    name = "cli-pipeline"
    _upload(aws, tmp_path, name, "one", "two")
    models = (f"s3://{name}/models/{model}.tar.gz" for model in ("one", "two"))
    _create(aws, name, *({"Image": "small", "ModelDataUrl": address} for address in models))
    last = _invoke(aws, tmp_path, name)
    first = json.loads(last["body"])
    assert (first["name"], first["body"], last["name"]) == ("one", "a question", "two")
    _delete(aws, name)
    unused(name)


def test_direct_invocation(aws: Aws, tmp_path: Path, unused: Callable[[str], None]) -> None:
    name = "cli-direct"
    _upload(aws, tmp_path, name, "one", "two")
    containers = (
        {"ContainerHostname": host, "Image": "small", "ModelDataUrl": f"s3://{name}/models/{host}.tar.gz"}
        for host in ("one", "two")
    )
    _create(aws, name, *containers, model=("--inference-execution-config", "Mode=Direct"))
    for host in ("one", "two"):
        assert _invoke(aws, tmp_path, name, "--target-container-hostname", host)["name"] == host
    request = ("--endpoint-name", name, "--body", "fileb://body.txt", "out.json")
    assert "ValidationError" in aws("sagemaker-runtime", "invoke-endpoint", *request, fails=True)
    _delete(aws, name)
    unused(name)


def test_shadow_variant(aws: Aws, tmp_path: Path, unused: Callable[[str], None]) -> None:
    name = "cli-shadow"
    _upload(aws, tmp_path, name, "one", "two")
    copy = {"Image": "small", "ModelDataUrl": f"s3://{name}/models/two.tar.gz"}
    request = ("--model-name", f"{name}-copy", "--execution-role-arn", ROLE, "--primary-container", json.dumps(copy))
    aws("sagemaker", "create-model", *request)
    shadow = f"VariantName=Shadow,ModelName={name}-copy,InstanceType=ml.m5.xlarge,InitialInstanceCount=1"
    container = {"Image": "small", "ModelDataUrl": f"s3://{name}/models/one.tar.gz"}
    _create(aws, name, container, config=("--shadow-production-variants", shadow))
    (described,) = aws("sagemaker", "describe-endpoint", "--endpoint-name", name)["ShadowProductionVariants"]
    assert (described["VariantName"], described["CurrentInstanceCount"]) == ("Shadow", 1)
    assert _invoke(aws, tmp_path, name)["name"] == "one"
    metric = ("--namespace", "AWS/SageMaker", "--metric-name", "Invocations", "--statistics", "Sum", "--period", "60")
    of = (f"Name=EndpointName,Value={name}", "Name=VariantName,Value=Shadow")
    times = (stamp.isoformat() for stamp in (datetime.now(UTC) - HOUR, datetime.now(UTC) + HOUR))
    span = [word for pair in zip(("--start-time", "--end-time"), times, strict=True) for word in pair]
    query = ("get-metric-statistics", *metric, "--dimensions", *of, *span)
    points = wait_for(lambda: aws("cloudwatch", *query)["Datapoints"], "the copy's metric", 120)
    assert [point["Sum"] for point in points] == [1]
    _delete(aws, name)
    aws("sagemaker", "delete-model", "--model-name", f"{name}-copy")
    unused(name)


def test_asynchronous_inference(aws: Aws, tmp_path: Path, unused: Callable[[str], None]) -> None:
    name = "cli-asynchronous"
    _upload(aws, tmp_path, name, "one")
    (tmp_path / "input.txt").write_text("a question")
    aws("s3", "cp", "input.txt", f"s3://{name}/input.txt")
    how = json.dumps({"OutputConfig": {"S3OutputPath": f"s3://{name}/output"}})
    container = {"Image": "small", "ModelDataUrl": f"s3://{name}/models/one.tar.gz"}
    _create(aws, name, container, config=("--async-inference-config", how))
    request = ("--endpoint-name", name, "--input-location", f"s3://{name}/input.txt", "--content-type", "text/plain")
    location = aws("sagemaker-runtime", "invoke-endpoint-async", *request)["OutputLocation"]
    aws("s3api", "wait", "object-exists", "--bucket", name, "--key", location.removeprefix(f"s3://{name}/"))
    aws("s3", "cp", location, "out.json")
    answer = json.loads((tmp_path / "out.json").read_text())
    assert (answer["name"], answer["body"]) == ("one", "a question")
    _delete(aws, name)
    unused(name)


def test_batch_transform(aws: Aws, tmp_path: Path, unused: Callable[[str], None]) -> None:
    name = "cli-batch"
    _upload(aws, tmp_path, name, "one")
    (tmp_path / "day.csv").write_text("1,2\n3,4\n")
    aws("s3", "cp", "day.csv", f"s3://{name}/input/day.csv")
    container = json.dumps({"Image": "small", "ModelDataUrl": f"s3://{name}/models/one.tar.gz"})
    model = ("--model-name", name)
    aws("sagemaker", "create-model", *model, "--execution-role-arn", ROLE, "--primary-container", container)
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{name}/input/"}}
    members = {
        "--transform-input": {"DataSource": source, "ContentType": "text/csv", "SplitType": "Line"},
        "--transform-output": {"S3OutputPath": f"s3://{name}/output", "AssembleWith": "Line"},
        "--transform-resources": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
    }
    options = [word for option, value in members.items() for word in (option, json.dumps(value))]
    job = ("--transform-job-name", name)
    aws("sagemaker", "create-transform-job", *job, *model, "--batch-strategy", "SingleRecord", *options)
    aws("sagemaker", "wait", "transform-job-completed-or-stopped", *job)
    aws("s3", "cp", f"s3://{name}/output/day.csv.out", "day.csv.out")
    answers = [json.loads(line) for line in (tmp_path / "day.csv.out").read_text().splitlines()]
    assert [answer["body"].strip() for answer in answers] == ["1,2", "3,4"]
    aws("sagemaker", "delete-model", *model)
    unused(name)


def test_serverless_inference(aws: Aws, tmp_path: Path, unused: Callable[[str], None]) -> None:
    name = "cli-serverless"
    _upload(aws, tmp_path, name, "one")
    container = {"Image": "small", "ModelDataUrl": f"s3://{name}/models/one.tar.gz"}
    _create(aws, name, container, ServerlessConfig={"MemorySizeInMB": 1024, "MaxConcurrency": 2})
    assert _invoke(aws, tmp_path, name)["body"] == "a question"
    _delete(aws, name)
    unused(name)
