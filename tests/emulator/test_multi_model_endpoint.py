"""The life of a multi-model endpoint: AWS's plain boto3, the emulator, and real containers of this installation.

The steps are those that AWS's examples of multi-model endpoints take: upload archives, create a model, an endpoint
configuration and an endpoint, invoke models by name, add models while the endpoint serves, update it, delete it all.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import joblib
import pytest
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.server import Emulator

REGION = "ap-northeast-2"
BUCKET = "multi-model-endpoint"
PREFIX = "flowers"
ENDPOINT = "flowers"
VERSICOLOR = b"5.9,2.8,4.3,1.3"


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(EmulatorConfig(port=0, memory_scale=0.25)) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def client(emulator: Emulator) -> Callable[[str], Any]:
    """Return a function that returns a boto3 client of a service."""
    return lambda service: emulator.client(service, REGION)


def archive(name: str) -> io.BytesIO:
    """Return the archive of a small classifier, whose labels tell whose they are."""
    flowers = load_iris()
    labels = [f"{name}: {flowers.target_names[target]}" for target in flowers.target]
    model = io.BytesIO()
    joblib.dump(DecisionTreeClassifier(max_depth=3, random_state=0).fit(flowers.data, labels), model)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        member = tarfile.TarInfo("model.joblib")
        member.size = model.tell()
        model.seek(0)
        tar.addfile(member, model)
    content.seek(0)
    return content


def create_config(sagemaker: Any, name: str, model_name: str, instance_count: int) -> None:
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": model_name,
        "InstanceType": "ml.m5.xlarge",
        "InitialInstanceCount": instance_count,
        "InitialVariantWeight": 1,
    }
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])


def instances(emulator: Emulator) -> list[dict[str, Any]]:
    """Return the endpoint's instances as the dashboard shows them."""
    state = httpx.get(f"{emulator.url}/_polyhost/state", trust_env=False).json()
    (endpoint,) = state["endpoints"]
    found: list[dict[str, Any]] = endpoint["variants"][0]["instances"]
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_life_of_a_multi_model_endpoint(emulator: Emulator, client: Callable[[str], Any]) -> None:
    s3, sagemaker, runtime = client("s3"), client("sagemaker"), client("sagemaker-runtime")
    account = client("sts").get_caller_identity()["Account"]

    def upload(key: str, name: str) -> None:
        s3.upload_fileobj(archive(name), BUCKET, f"{PREFIX}/{key}")

    def predict(target_model: str) -> str:
        response = runtime.invoke_endpoint(
            EndpointName=ENDPOINT, TargetModel=target_model, ContentType="text/csv", Body=VERSICOLOR
        )
        assert response["InvokedProductionVariant"] == "AllTraffic"
        (prediction,) = json.loads(response["Body"].read())
        return str(prediction)

    def counts() -> dict[str, tuple[int, int]]:
        """Return how many requests each model has had, and how many of them found it not loaded."""
        return {model["name"]: (model["calls"], model["cold"]) for model in instances(emulator)[0]["models"]}

    with suppress(s3.exceptions.BucketAlreadyOwnedByYou):  # emulators in one process share moto's S3
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    upload("garden.tar.gz", "garden")
    upload("meadow.tar.gz", "meadow")

    container = {
        "Image": f"{account}.dkr.ecr.{REGION}.amazonaws.com/polyhost:latest",
        "Mode": "MultiModel",
        "ModelDataUrl": f"https://s3-{REGION}.amazonaws.com/{BUCKET}/{PREFIX}/",
    }
    role = f"arn:aws:iam::{account}:role/flowers"
    sagemaker.create_model(ModelName="flowers", ExecutionRoleArn=role, Containers=[container])
    create_config(sagemaker, "one-instance", "flowers", 1)
    sagemaker.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName="one-instance")
    assert sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointStatus"] == "Creating"
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=ENDPOINT)

    # The first request loads a model, the second finds it loaded.
    for name in ("garden", "garden", "meadow", "meadow"):
        assert predict(f"{name}.tar.gz") == f"{name}: versicolor"
    assert counts() == {"garden.tar.gz": (2, 1), "meadow.tar.gz": (2, 1)}

    # Models are added while the endpoint serves: an upload is enough, also below a further prefix.
    for number in range(3):
        upload(f"gardens/{number}.tar.gz", f"garden {number}")
    for number in range(3):
        assert predict(f"gardens/{number}.tar.gz") == f"garden {number}: versicolor"
    # A new version has a new name: the cached copy of an overwritten archive would stay in use.
    upload("garden-v2.tar.gz", "garden, version 2")
    assert predict("garden-v2.tar.gz") == "garden, version 2: versicolor"
    assert predict("garden.tar.gz") == "garden: versicolor"
    assert len(counts()) == 6

    # An update replaces the instances, whose models load again on their first requests.
    before = {instance["id"] for instance in instances(emulator)}
    create_config(sagemaker, "two-instances", "flowers", 2)
    sagemaker.update_endpoint(EndpointName=ENDPOINT, EndpointConfigName="two-instances")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=ENDPOINT)
    described = sagemaker.describe_endpoint(EndpointName=ENDPOINT)
    assert described["EndpointConfigName"] == "two-instances"
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    after = {instance["id"] for instance in instances(emulator)}
    assert len(after) == 2 and not before & after
    for name in ("garden", "meadow"):
        assert predict(f"{name}.tar.gz") == f"{name}: versicolor"

    sagemaker.delete_endpoint(EndpointName=ENDPOINT)
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=ENDPOINT)
    for config in ("one-instance", "two-instances"):
        sagemaker.delete_endpoint_config(EndpointConfigName=config)
    sagemaker.delete_model(ModelName="flowers")
    assert sagemaker.list_endpoints()["Endpoints"] == []
    assert sagemaker.list_endpoint_configs()["EndpointConfigs"] == []
    assert sagemaker.list_models()["Models"] == []
