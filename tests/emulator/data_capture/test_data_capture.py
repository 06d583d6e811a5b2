"""DataCaptureConfig through boto3: what of an endpoint's invocations is in S3, and when it is not."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.server import Emulator
from tests.emulator.archives import archive
from tests.emulator.conftest import COMMAND, REGION, Local
from tests.support.waiting import wait_for

TYPES = {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]}
BOTH = [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}]


def settings(bucket: str, percent: int = 100, **members: Any) -> dict[str, Any]:
    config = {"InitialSamplingPercentage": percent, "DestinationS3Uri": f"s3://{bucket}/captured"}
    return config | {"CaptureOptions": BOTH, "CaptureContentTypeHeader": TYPES} | members


class Captured:
    """Endpoints with data capture, and what is captured of them."""

    def __init__(self, local: Local, name: str) -> None:
        self.local = local
        self.name = name
        self.local.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})

    def config(self, name: str, capture: dict[str, Any] | None, model: str | None = None, **members: Any) -> None:
        variant = {"VariantName": "AllTraffic", "ModelName": model or self.name, "InstanceType": "ml.m5.xlarge"}
        self.local.sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[variant | {"InitialInstanceCount": 1}],
            **({} if capture is None else {"DataCaptureConfig": capture}),
            **members,
        )

    def single_model(self, **model_settings: Any) -> None:
        content = archive("one", **model_settings)
        self.local.s3.put_object(Bucket="models", Key=f"{self.name}/model.tar.gz", Body=content)
        self.local.model(self.name, multi_model=False)

    def create(self, config: str) -> None:
        self.local.sagemaker.create_endpoint(EndpointName=self.name, EndpointConfigName=config)
        self.local.wait(self.name)

    def update(self, config: str, **members: Any) -> dict[str, Any]:
        """Update the endpoint, and return how it describes its data capture then."""
        self.local.sagemaker.update_endpoint(EndpointName=self.name, EndpointConfigName=config, **members)
        self.local.wait(self.name)
        return self.described()

    def described(self) -> dict[str, Any]:
        found = self.local.sagemaker.describe_endpoint(EndpointName=self.name)
        capture: dict[str, Any] = found["DataCaptureConfig"]
        return capture

    def invoke(self, body: bytes = b"1,2", content_type: str = "text/csv", **members: Any) -> dict[str, Any]:
        response: dict[str, Any] = self.local.runtime.invoke_endpoint(
            EndpointName=self.name, Body=body, ContentType=content_type, **members
        )
        return response

    def lines(self, variant: str = "AllTraffic", prefix: str = "captured") -> list[dict[str, Any]]:
        prefix = f"{prefix}/{self.name}/{variant}/"
        found = self.local.s3.list_objects_v2(Bucket=self.name, Prefix=prefix).get("Contents", [])
        bodies = (self.local.s3.get_object(Bucket=self.name, Key=item["Key"])["Body"] for item in found)
        return [json.loads(line) for body in bodies for line in body.iter_lines()]

    def wait_for_lines(self, count: int, variant: str = "AllTraffic") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = wait_for(
            lambda: lines if len(lines := self.lines(variant)) >= count else None, f"{count} captures"
        )
        assert len(found) == count
        return found


@pytest.fixture(scope="module")
def quick() -> Iterator[Local]:
    """Run an emulator that writes captures after half a second."""
    with Emulator(EmulatorConfig(port=0, command=COMMAND, time_scale=0.01)) as emulator:
        yield Local(emulator)


@pytest.fixture
def captured(quick: Local, request: pytest.FixtureRequest) -> Iterator[Callable[[], Captured]]:
    made: list[Captured] = []

    def make() -> Captured:
        name = request.node.name.replace("_", "-")[5:60].strip("-")
        made.append(Captured(quick, name))
        return made[-1]

    yield make
    for item in made:
        try:
            quick.sagemaker.delete_endpoint(EndpointName=item.name)
        except ClientError:
            continue
        quick.wait(item.name, "endpoint_deleted")


def test_both_ways_are_captured(captured: Callable[[], Captured]) -> None:
    endpoint = captured()
    endpoint.single_model()
    endpoint.config(endpoint.name, settings(endpoint.name, KmsKeyId="alias/captures"))
    endpoint.create(endpoint.name)
    assert endpoint.described() == {
        "EnableCapture": True,
        "CaptureStatus": "Started",
        "CurrentSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{endpoint.name}/captured",
        "KmsKeyId": "alias/captures",
    }
    answer = endpoint.invoke(InferenceId="mine", CustomAttributes="k=v")["Body"].read().decode()
    (line,) = endpoint.wait_for_lines(1)
    data = line["captureData"]
    assert (data["endpointInput"]["data"], data["endpointInput"]["encoding"]) == ("1,2", "CSV")
    assert (data["endpointOutput"]["data"], data["endpointOutput"]["encoding"]) == (answer, "JSON")
    assert line["eventMetadata"]["inferenceId"] == "mine"
    assert line["eventMetadata"]["customAttributes"] == ["k=v"]
    key = endpoint.local.s3.list_objects_v2(Bucket=endpoint.name)["Contents"][0]["Key"]
    year, month, day, hour = key.split("/")[3:7]
    assert line["eventMetadata"]["inferenceTime"].startswith(f"{year}-{month}-{day}T{hour}:")
    head = endpoint.local.s3.head_object(Bucket=endpoint.name, Key=key)
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/captures")

    endpoint.invoke(b"\x00\xff", "application/x-npy")
    last = next(item for item in endpoint.wait_for_lines(2) if item != line)
    assert base64.b64decode(last["captureData"]["endpointInput"]["data"]) == b"\x00\xff"
    assert "inferenceId" not in last["eventMetadata"]


def test_each_model_of_a_multi_model_endpoint(captured: Callable[[], Captured]) -> None:
    endpoint = captured()
    endpoint.local.upload(endpoint.name, "a", "b")
    endpoint.local.model(endpoint.name)
    endpoint.config(endpoint.name, settings(endpoint.name, CaptureOptions=[{"CaptureMode": "InputAndOutput"}]))
    endpoint.create(endpoint.name)
    for model in ("a", "b", "a"):
        endpoint.invoke(TargetModel=f"{model}.tar.gz")
    found = endpoint.wait_for_lines(3)
    models = sorted(
        (line["eventMetadata"]["targetModel"], json.loads(line["captureData"]["endpointOutput"]["data"])["name"])
        for line in found
    )
    assert models == [("a.tar.gz", "a"), ("a.tar.gz", "a"), ("b.tar.gz", "b")]


def test_streams(captured: Callable[[], Captured]) -> None:
    endpoint = captured()
    endpoint.single_model(chunks=["first ", "second"])
    endpoint.config(
        endpoint.name, settings(endpoint.name, CaptureContentTypeHeader={"CsvContentTypes": ["text/plain"]})
    )
    endpoint.create(endpoint.name)
    response = endpoint.local.runtime.invoke_endpoint_with_response_stream(EndpointName=endpoint.name, Body=b"?")
    assert b"".join(event["PayloadPart"]["Bytes"] for event in response["Body"]) == b"first second"
    (line,) = endpoint.wait_for_lines(1)
    assert line["captureData"]["endpointOutput"]["data"] == "first second"


def test_shadow_variants(captured: Callable[[], Captured]) -> None:
    endpoint = captured()
    endpoint.single_model()
    shadow: dict[str, Any] = {"VariantName": "Shadow", "ModelName": endpoint.name, "InstanceType": "ml.m5.xlarge"}
    shadow |= {"InitialInstanceCount": 1, "InitialVariantWeight": 1.0}
    endpoint.config(endpoint.name, settings(endpoint.name), ShadowProductionVariants=[shadow])
    endpoint.create(endpoint.name)
    endpoint.invoke(InferenceId="both")
    assert [line["eventMetadata"]["inferenceId"] for line in endpoint.wait_for_lines(1)] == ["both"]
    assert [line["eventMetadata"]["inferenceId"] for line in endpoint.wait_for_lines(1, "Shadow")] == ["both"]


def test_samples_and_updates(captured: Callable[[], Captured]) -> None:
    endpoint = captured()
    endpoint.single_model()
    bucket = endpoint.name
    half = settings(bucket, 50, CaptureOptions=[{"CaptureMode": "Input"}])
    for name, capture in (
        ("sampled-none", settings(bucket, 0)),
        ("sampled-off", settings(bucket, EnableCapture=False)),
        ("sampled-half", half),
    ):
        endpoint.config(name, capture)
    endpoint.create("sampled-none")
    for _ in range(5):
        endpoint.invoke()
    described = endpoint.update("sampled-off")
    assert (described["EnableCapture"], described["CaptureStatus"]) == (False, "Stopped")
    for _ in range(5):
        endpoint.invoke()
    described = endpoint.update("sampled-half", RetainAllVariantProperties=True)
    assert described["EnableCapture"] is False
    excluded = [{"VariantPropertyType": "DataCaptureConfig"}]
    described = endpoint.update(
        "sampled-half", RetainAllVariantProperties=True, ExcludeRetainedVariantProperties=excluded
    )
    assert (described["EnableCapture"], described["CurrentSamplingPercentage"]) == (True, 50)
    for number in range(100):
        endpoint.invoke(InferenceId=str(number))
    # Deleted endpoints' captures are written at once: then there are no more to come.
    endpoint.local.sagemaker.delete_endpoint(EndpointName=endpoint.name)
    endpoint.local.wait(endpoint.name, "endpoint_deleted")
    found = wait_for(endpoint.lines, "captures")
    numbers = {line["eventMetadata"]["inferenceId"] for line in found}
    assert 10 < len(numbers) < 90  # one in ten to the fourteenth fails by chance
    assert all(list(line["captureData"]) == ["endpointInput"] for line in found)


def test_failures_are_neither_captured_nor_caused(captured: Callable[[], Captured]) -> None:
    endpoint = captured()
    endpoint.single_model(status=500)
    endpoint.config(endpoint.name, settings("there-is-no-such-bucket"))
    endpoint.create(endpoint.name)
    with pytest.raises(ClientError, match="ModelError"):
        endpoint.invoke()
    endpoint.local.s3.put_object(Bucket="models", Key=f"{endpoint.name}/model.tar.gz", Body=archive("one"))
    endpoint.config("no-such-bucket", settings("there-is-no-such-bucket"))
    endpoint.update("no-such-bucket")
    for _ in range(3):
        endpoint.invoke()
    assert endpoint.described()["CaptureStatus"] == "Started"
    assert endpoint.lines() == []


@pytest.mark.parametrize(
    ("capture", "message"),
    [
        ({"DestinationS3Uri": "ftp://b/p"}, "'dataCaptureConfig.destinationS3Uri' failed to satisfy constraint"),
        (
            {"DestinationS3Uri": "https://example.com/x"},
            "DestinationS3Uri 'https://example.com/x' is not an address in S3",
        ),
        ({"CaptureOptions": [{"CaptureMode": "Everything"}]}, r"enum value set: \[Input, Output, InputAndOutput\]"),
        ({"InitialSamplingPercentage": 101}, "Member must have value less than or equal to 100"),
        ({"KmsKeyId": "a key"}, "'dataCaptureConfig.kmsKeyId' failed to satisfy constraint"),
        (
            {"CaptureContentTypeHeader": {"CsvContentTypes": ["a/b"], "JsonContentTypes": ["A/B"]}},
            "has a/b in CsvContentTypes and in JsonContentTypes",
        ),
    ],
)
def test_invalid_settings_are_rejected(quick: Local, capture: dict[str, Any], message: str) -> None:
    quick.model("rejected-capture", multi_model=False)
    variant = {"VariantName": "v", "ModelName": "rejected-capture", "InstanceType": "ml.m5.xlarge"}
    try:
        with pytest.raises(ClientError, match=message) as caught:
            quick.sagemaker.create_endpoint_config(
                EndpointConfigName="rejected",
                ProductionVariants=[variant | {"InitialInstanceCount": 1}],
                DataCaptureConfig=settings("bucket") | capture,
            )
        assert caught.value.response["Error"]["Code"] == "ValidationException"
    finally:
        quick.sagemaker.delete_model(ModelName="rejected-capture")


def test_nothing_is_lost_when_the_emulator_stops() -> None:
    with Emulator(EmulatorConfig(port=0, command=COMMAND)) as outer:
        s3 = outer.client("s3", REGION)
        s3.create_bucket(Bucket="outlives", CreateBucketConfiguration={"LocationConstraint": REGION})
        with Emulator(EmulatorConfig(port=0, command=COMMAND)) as emulator:
            local = Local(emulator)
            local.s3.put_object(Bucket="models", Key="stopped/model.tar.gz", Body=archive("one"))
            local.model("stopped", multi_model=False)
            variant = {"VariantName": "AllTraffic", "ModelName": "stopped", "InstanceType": "ml.m5.xlarge"}
            local.sagemaker.create_endpoint_config(
                EndpointConfigName="stopped",
                ProductionVariants=[variant | {"InitialInstanceCount": 1}],
                DataCaptureConfig=settings("outlives"),
            )
            local.sagemaker.create_endpoint(EndpointName="stopped", EndpointConfigName="stopped")
            local.wait("stopped")
            for _ in range(20):
                local.invoke("stopped", None)
        # Emulators in one process share moto's S3.
        keys = [item["Key"] for item in s3.list_objects_v2(Bucket="outlives")["Contents"]]
        bodies = [s3.get_object(Bucket="outlives", Key=key)["Body"] for key in keys]
        assert sum(1 for body in bodies for _ in body.iter_lines()) == 20
