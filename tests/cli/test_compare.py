"""`polyhost compare`, on endpoints of an emulator."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from polyhost.aws_environ import aws_environ
from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.server import Emulator
from tests.emulator.archives import archive
from tests.emulator.conftest import COMMAND, REGION, Local
from tests.support.command import run_polyhost
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow
CALLS = 30
SECONDS = 7  # the latencies of at least five whole seconds


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    with Emulator(EmulatorConfig(port=0, command=COMMAND, time_scale=0.01)) as emulator:
        yield Local(emulator)


def _model(local: Local, name: str, **settings: Any) -> None:
    local.s3.put_object(Bucket="models", Key=f"{name}/model.tar.gz", Body=archive("one", **settings))
    local.model(name, multi_model=False)


def _variant(name: str, model: str) -> dict[str, Any]:
    return {"VariantName": name, "ModelName": model, "InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 1}


def _host(local: Local, name: str, **members: Any) -> None:
    local.sagemaker.create_endpoint_config(EndpointConfigName=name, **members)
    local.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    local.wait(name)


@pytest.fixture(scope="module")
def ab(local: Local) -> str:
    """Host two production variants, of which the second fails with each call, and call them for some seconds."""
    _model(local, "ab-a")
    _model(local, "ab-b", status=500)
    _host(local, "ab", ProductionVariants=[_variant("A", "ab-a"), _variant("B", "ab-b")])
    end, calls = time.monotonic() + SECONDS, 0
    while time.monotonic() < end or calls < CALLS:
        local.invoke("ab", None, TargetVariant="A")
        with pytest.raises(local.runtime.exceptions.ModelError):
            local.invoke("ab", None, TargetVariant="B")
        calls += 1
        time.sleep(0.1)
    return "ab"


def _compare(local: Local, *arguments: str) -> Any:
    return run_polyhost("compare", *arguments, environ=aws_environ(local.emulator.url, REGION))


def _compared(local: Local, *arguments: str) -> dict[str, Any]:
    result = _compare(local, *arguments, "--json")
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_variant_without_errors_is_better(local: Local, ab: str) -> None:
    def found() -> dict[str, Any] | None:
        report = _compared(local, ab, "--period", "1")
        return report if all(variant["calls"] >= CALLS for variant in report["variants"]) else None

    report = wait_for(found, "the metrics of all calls", 120)
    assert report is not None
    (comparison,) = report["comparisons"]
    assert comparison["better"] == "A"
    assert comparison["reason"].startswith("fewer errors")
    assert [variant["error_rate"] for variant in report["variants"]] == [0, 1]
    assert comparison["errors"]["p_value"] < 1e-6
    assert comparison["latency"]["p_value"] is not None
    assert comparison["agreement"] is None

    result = _compare(local, ab, "--period", "1", "--baseline", "B")
    assert "A beside B" in result.stdout
    assert "A is better: fewer errors" in result.stdout
    assert "differ, p = " in result.stdout


def test_what_cannot_be_compared_is_one_sentence(local: Local, ab: str) -> None:
    for arguments, words in (
        (("none",), "cannot describe endpoint none"),
        ((ab, "--baseline", "C"), "endpoint ab has no variant C; it has A, B"),
        ((ab, "--captures", "/none"), "/none is no folder of captures"),
        ((ab, "--captures", "s3://no-such-bucket/x"), "cannot read captures at s3://no-such-bucket/x"),
    ):
        result = _compare(local, *arguments)
        assert (result.returncode, result.stdout) == (1, "")
        assert words in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_shadow_variants_answers_are_compared_with_productions(local: Local) -> None:
    _model(local, "shadowed-a")
    _model(local, "shadowed-b")
    local.s3.create_bucket(Bucket="answers", CreateBucketConfiguration={"LocationConstraint": REGION})
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": "s3://answers/live",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    }
    _host(
        local,
        "shadowed",
        ProductionVariants=[_variant("production", "shadowed-a")],
        ShadowProductionVariants=[_variant("shadow", "shadowed-b")],
        DataCaptureConfig=capture,
    )
    result = _compare(local, "shadowed")
    assert result.returncode == 1
    assert "variant production has 0 calls in this time, and at least 20 are needed" in result.stderr
    for number in range(CALLS):
        local.runtime.invoke_endpoint(EndpointName="shadowed", Body=str(number).encode())

    def agreement() -> dict[str, Any] | None:
        result = _compare(local, "shadowed", "--json")
        found = json.loads(result.stdout)["comparisons"][0]["agreement"] if result.returncode == 0 else None
        return found if found is not None and found["compared"] == CALLS else None

    found = wait_for(agreement, "the captures of both variants", 120)
    assert found is not None
    # The small container's answers have its process's number, and so none is the same.
    assert found["agreed"] == 0
    assert 0 < found["interval"][1] < 0.2
