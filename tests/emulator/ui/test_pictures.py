"""The pictures of the dashboard in docs/: each view can be drawn, and `scripts/pictures` takes the pictures anew."""

import io
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from botocore.exceptions import ClientError
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.server import Emulator
from tests.emulator.autoscaling.harness import ScaledEndpoint
from tests.emulator.conftest import COMMAND, Local
from tests.emulator.hosting.deployment.harness import Deployments, canary, guarded
from tests.support.browser import opened

DOCS = Path(__file__).parents[3] / "docs"
TAKES = "POLYHOST_PICTURES" in os.environ
MAX_BYTES = 150_000
MODELS = [f"company-{number:02}" for number in range(12)]
CALLS = 300 if TAKES else 30  # pictures have curves of a minute and more
UPDATED = "prices"


class Picture(NamedTuple):
    """A picture of a view, which is drawn once `shows` is there."""

    file: str
    view: str
    shows: str
    height: int


PICTURES = (
    Picture("emulator.png", "endpoints", "company-03.tar.gz", 800),
    Picture("dashboard-deployments.png", "deployments", "has 20% of the traffic", 560),
    Picture("dashboard-curves.png", "curves", "company-03.tar.gz", 860),
    Picture("dashboard-alarms.png", "alarms", "Threshold Crossed", 430),
    Picture("dashboard-scaling.png", "scaling", "AlreadyAtMaxCapacity", 430),
    Picture("dashboard-captures.png", "captures", "1.5,2.5", 560),
    Picture("dashboard-request.png", "request", "x-amzn-invoked-production-variant", 900),
)


@pytest.fixture(scope="module")
def staged() -> Iterator[Local]:
    """Run an emulator that has something to show in each view."""
    config = EmulatorConfig(port=0, command=COMMAND, memory_scale=0.01, time_scale=0.2)
    with Emulator(config) as emulator:
        local = Local(emulator)
        deployments = Deployments(local)
        host_models(local)
        for version in ("old", "new"):
            deployments.model(f"{UPDATED}-{version}", invoke_seconds=0.004)
        capture = {
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": "s3://models/captured",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        }
        variants = local.sagemaker.describe_endpoint_config(EndpointConfigName=f"{UPDATED}-old")["ProductionVariants"]
        local.sagemaker.create_endpoint_config(
            EndpointConfigName=f"{UPDATED}-first", ProductionVariants=variants, DataCaptureConfig=capture
        )
        local.sagemaker.create_endpoint(EndpointName=UPDATED, EndpointConfigName=f"{UPDATED}-first")
        local.wait(UPDATED)
        put_alarms(deployments)
        scale(local)
        call(local)
        # The canary lasts for as long as the pictures need.
        deployments.update(UPDATED, f"{UPDATED}-new", guarded(canary(20, 3600), f"{UPDATED}-errors"))
        deployments.wait_for_stage(UPDATED, "Baking")
        yield local


def host_models(local: Local) -> None:
    for number, model in enumerate(MODELS):
        times = {"load_seconds": 0.03 + 0.01 * (number % 5), "invoke_seconds": 0.002 * (number % 4)}
        local.upload("sensors", model, megabytes=5 + number % 7, **times)
    local.host("sensors", count=2, Environment={"SMALL_CAPACITY": "7"})


def put_alarms(deployments: Deployments) -> None:
    for name, metric, threshold in (("errors", "Invocation5XXErrors", 5.0), ("slow", "ModelLatency", 1000.0)):
        deployments.cloudwatch.put_metric_alarm(
            AlarmName=f"{UPDATED}-{name}",
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=[{"Name": "EndpointName", "Value": UPDATED}, {"Name": "VariantName", "Value": "AllTraffic"}],
            Statistic="Average",
            Period=60,
            EvaluationPeriods=1,
            Threshold=threshold,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="notBreaching",
        )


def scale(local: Local) -> None:
    """Have an endpoint scaled to its limit by its limits and by an alarm; what was done stays when both are deleted."""
    endpoint = ScaledEndpoint(local.emulator, "reviews")
    endpoint.host()
    endpoint.register(2, 3)
    endpoint.wait_for_count(2)
    alarm = endpoint.alarms.put(
        AlarmName="reviews-busy", TreatMissingData="ignore", AlarmActions=[endpoint.step(1, "one-more")]
    )
    endpoint.alarms.cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="drill")
    endpoint.wait_for_activity(StatusCode="Unfulfilled")
    endpoint.alarms.cloudwatch.delete_alarms(AlarmNames=[alarm])
    endpoint.delete()


def call(local: Local) -> None:
    for step in range(CALLS):
        local.invoke("sensors", MODELS[(step * step + step // 7) % len(MODELS)])
        body = {"EndpointName": UPDATED, "ContentType": "text/csv", "Body": f"{step % 9}.5,2.5\n1.5,2.5"}
        local.runtime.invoke_endpoint(**body)
        if TAKES:
            time.sleep(0.1 * (1 + (step // 60) % 3))
    with suppress(ClientError):
        local.invoke("sensors", "company-99")


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.view)
def test_each_picture_can_be_taken_and_is_there(browser: Browser, staged: Local, picture: Picture) -> None:
    url = staged.emulator.url
    size = {"width": 1180, "height": picture.height}
    with opened(browser, f"{url}/_polyhost/#{picture.view}", url, viewport=size) as page:
        if picture.view == "request":
            send(page)
        choose(page, picture.view)
        expect(
            page.locator(f"#{picture.view}").get_by_text(picture.shows).locator("visible=true").first
        ).to_be_visible()
        if TAKES:
            save(page.screenshot(), DOCS / picture.file)
    assert (DOCS / picture.file).stat().st_size <= MAX_BYTES


def save(screenshot: bytes, path: Path) -> None:
    """Write a picture with a palette: a third of the bytes."""
    with Image.open(io.BytesIO(screenshot)) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def choose(page: Page, view: str) -> None:
    if view == "curves":
        page.get_by_role("combobox", name="Endpoint").select_option(label="sensors (ap-northeast-2)")
        page.get_by_label("Curves of").select_option("models")
    if view == "captures":
        page.get_by_role("combobox", name="Endpoint").select_option(label=f"{UPDATED} (ap-northeast-2)")


def send(page: Page) -> None:
    page.get_by_role("combobox", name="Endpoint").select_option(label="sensors (ap-northeast-2)")
    page.get_by_label("TargetModel").fill("company-03.tar.gz")
    page.get_by_label("Content type").fill("text/csv")
    page.get_by_label("Body", exact=True).fill("5.1,3.5,1.4,0.2")
    page.get_by_role("button", name="Send").click()


def test_the_docs_show_every_picture() -> None:
    shown = {name for path in DOCS.glob("*.md") for name in re.findall(r"\]\(([\w-]+\.png)\)", path.read_text())}
    assert {picture.file for picture in PICTURES} <= shown
