"""The views of the dashboard in a real browser: deployments, curves, alarms, scaling and captures."""

import itertools
import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.server import Emulator
from tests.emulator.autoscaling.harness import ScaledEndpoint
from tests.emulator.conftest import COMMAND, Local
from tests.emulator.hosting.deployment.harness import Deployments, canary, guarded
from tests.support.browser import TIMEOUT_MS, check_contrast, check_widths, opened

Hosted = Callable[..., str]

LABEL = "aria-label"
MARKUP = "<b onclick=alert(1)>&amp;"
_numbers = itertools.count()
VIEWS = ("Endpoints", "Deployments", "Curves", "Alarms", "Scaling", "Captures", "Functions", "Request")


@pytest.fixture
def patient(local: Local) -> Deployments:
    """Return deployments whose waits last until an alarm ends them."""
    return Deployments(local)


@pytest.fixture
def baking(patient: Deployments) -> Iterator[str]:
    """Give the new fleet of an endpoint a fifth of the traffic, under an alarm that has the endpoint's name."""
    name = f"shown-canary-{next(_numbers)}"
    patient.endpoint(name)
    alarm = patient.alarm(name)
    patient.update(name, f"{name}-new", guarded(canary(20), alarm))
    patient.wait_for_stage(name, "Baking")
    yield name
    patient.trip(alarm)
    patient.wait_for_status(name, "InService")
    patient.delete(name)
    patient.cloudwatch.delete_alarms(AlarmNames=[alarm])


def show(page: Page, view: str) -> None:
    page.get_by_role("navigation", name="Views").get_by_role("link", name=view).click()


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until something has the focus."""
    for _ in range(100):
        page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            return
    pytest.fail(f"the Tab key does not lead to {wanted}")


def chart(place: Page | Locator, title: str) -> Locator:
    return place.get_by_role("figure", name=title).get_by_role("img")


def test_a_deployment_shows_its_steps_and_shares_until_an_alarm_ends_it(
    page: Page, patient: Deployments, baking: str
) -> None:
    show(page, "Deployments")
    shown = page.get_by_role("region", name=f"Deployment of {baking}")
    expect(shown).to_contain_text(f"CANARY to {baking}-new")
    expect(shown).to_contain_text(f"watches {baking}")
    expect(shown.locator("h3 .pill")).to_have_text("Baking")
    shares = chart(shown, "Share of the traffic")
    expect(shares).to_have_attribute(LABEL, f"Share of the traffic: {baking}-old 80 %, {baking}-new 20 %")
    steps = shown.get_by_role("list", name=f"Steps of the deployment of {baking}").locator(".pill")
    expect(steps).to_have_text(["Creating", "Shifting", "Baking"])
    patient.trip(baking)
    expect(steps).to_have_text(["Creating", "Shifting", "Baking", "RollingBack", "RolledBack"])
    expect(shares).to_have_attribute(LABEL, f"Share of the traffic: {baking}-old 100 %, {baking}-new 0 %")
    expect(shown.locator(".reason")).to_contain_text(f"The alarm(s) {baking} of AutoRollbackConfiguration tripped")


def test_alarms_show_their_condition_and_why_they_are_in_their_state(page: Page, local: Local) -> None:
    cloudwatch = Deployments(local).cloudwatch
    names = [MARKUP, "shown-composite"]
    cloudwatch.put_metric_alarm(
        AlarmName=MARKUP,
        Namespace="AWS/SageMaker",
        MetricName="ModelLatency",
        Dimensions=[{"Name": "EndpointName", "Value": "one"}],
        ExtendedStatistic="p99",
        Period=60,
        EvaluationPeriods=3,
        DatapointsToAlarm=2,
        Threshold=1500.5,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="ignore",
    )
    cloudwatch.put_composite_alarm(AlarmName=names[1], AlarmRule=f'ALARM("{MARKUP}")', ActionsEnabled=False)
    show(page, "Alarms")
    row = page.get_by_role("row").filter(has=page.get_by_role("cell").first.filter(has_text=MARKUP))
    condition = "p99 of ModelLatency (EndpointName=one) greater than 1500.5 in 2 of 3 periods of 60 s"
    expect(row.first).to_contain_text(condition)
    cloudwatch.set_alarm_state(AlarmName=MARKUP, StateValue="ALARM", StateReason=f"because of {MARKUP}")
    expect(row.first.locator(".pill")).to_have_text("ALARM")
    expect(row.first).to_contain_text(f"because of {MARKUP}")
    composite = page.get_by_role("row", name=re.compile("^shown-composite"))
    expect(composite).to_contain_text(f'ALARM("{MARKUP}")')
    expect(composite).to_contain_text("(actions disabled)")
    cloudwatch.delete_alarms(AlarmNames=names)
    expect(composite).to_have_count(0)


def test_curves_show_throughput_and_latency_of_variants_and_models(page: Page, local: Local, hosted: Hosted) -> None:
    name = hosted("a", "b", MARKUP)
    for model in ("a", "b", "b", MARKUP):
        local.invoke(name, model)
    show(page, "Curves")
    page.get_by_role("combobox", name="Endpoint").select_option(label=f"{name} (ap-northeast-2)")
    for title in ("Latency of the model, p50", "Latency of the model, p99"):
        expect(chart(page, title)).to_have_attribute(LABEL, re.compile(rf"^{title}: AllTraffic \d.* m?s$"))
    requests = chart(page, "Requests per second")
    expect(requests).to_have_attribute(
        LABEL, re.compile(r"^Requests per second: AllTraffic 0$")
    )  # once they have ended
    page.get_by_label("Curves of").select_option("models")
    legend = page.get_by_role("figure", name="Requests per second").locator(".legend .name")
    expect(legend).to_have_text([f"{MARKUP}.tar.gz", "a.tar.gz", "b.tar.gz"])
    page.get_by_label("Filter models and events").fill("b.tar")
    expect(legend).to_have_text(["b.tar.gz"])
    drawn = page.get_by_role("figure", name="Requests per second").locator("svg g path")
    expect(drawn).to_have_attribute("d", re.compile(r"^M[\d.]+ [\d.]+(L[\d.]+ [\d.]+)+$"))


def test_scaling_activities_are_shown_with_their_cause(page: Page, local: Local) -> None:
    endpoint = ScaledEndpoint(local.emulator, "shown-scaling")
    endpoint.host()
    endpoint.register(2, 3)
    show(page, "Scaling")
    row = page.get_by_role("row").filter(has_text="endpoint/shown-scaling/variant/AllTraffic")
    expect(row.locator(".pill")).to_have_text("Successful")
    expect(row).to_contain_text("minimum capacity was set to 2")
    check_widths(page)
    endpoint.delete()


def test_captured_requests_are_shown_with_their_answers(page: Page, local: Local) -> None:
    name = "shown-captures"
    local.upload(name, "a", MARKUP, quotes=True)
    local.model(name)
    variant = {"VariantName": "blue", "ModelName": name, "InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 1}
    local.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[variant],
        DataCaptureConfig={
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": "s3://models/captured",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        },
    )
    local.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    local.wait(name)
    show(page, "Captures")
    page.get_by_role("combobox", name="Endpoint").select_option(label=f"{name} (ap-northeast-2)")
    expect(page.get_by_text("Nothing captured.")).to_be_visible()
    for model, body in (("a", "1,2"), (MARKUP, MARKUP)):
        target = {"EndpointName": name, "TargetModel": f"{model}.tar.gz"}
        local.runtime.invoke_endpoint(**target, ContentType="text/csv", Body=body)
    captures = page.locator("#capture-list > li")
    expect(captures).to_have_count(2)
    expect(captures.first).to_contain_text(f"{MARKUP}.tar.gz")
    expect(captures.first.locator("pre").first).to_have_text(MARKUP)
    expect(captures.last).to_contain_text("Request · text/csv · 3 B")
    expect(captures.last.locator("pre").first).to_have_text("1,2")
    expect(captures.last.locator("pre").last).to_contain_text('"name": "a"')
    check_widths(page)
    local.sagemaker.delete_endpoint(EndpointName=name)
    local.wait(name, "endpoint_deleted")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_has_contrast_and_scrolls_in_one_direction(
    browser: Browser, local: Local, baking: str, scheme: str
) -> None:
    url = local.emulator.url
    for _ in range(5):
        local.invoke(baking, None)
    with opened(browser, url, url, color_scheme=scheme) as page:
        for view in VIEWS:
            show(page, view)
            if view not in ("Scaling", "Functions"):  # which have nothing of this endpoint
                expect(page.locator(f"#{view.lower()}")).to_contain_text(baking)  # as an endpoint to choose, at least
            check_contrast(page)
            check_widths(page)


def test_all_can_be_done_with_the_keyboard(page: Page, baking: str) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_label("Filter models and events")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Paused")).to_be_focused()
    page.keyboard.press("Space")
    for view in VIEWS[1:]:
        link = page.get_by_role("link", name=view)
        tab_to(page, link)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name=view, exact=True)).to_have_count(1)
        expect(link).to_have_attribute("aria-current", "page")
    page.go_back()
    expect(page.get_by_role("link", name="Functions")).to_have_attribute("aria-current", "page")
    page.go_back()
    expect(page.get_by_role("link", name="Captures")).to_have_attribute("aria-current", "page")
    tab_to(page, page.get_by_role("combobox", name="Endpoint"))


def test_page_stays_as_it_was_while_the_emulator_is_away(browser: Browser) -> None:
    errors: list[str] = []
    with Emulator(EmulatorConfig(port=0, command=COMMAND)) as emulator:
        url, local = emulator.url, Local(emulator)
        local.upload("away", "a")
        local.host("away")
        page = browser.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{url}/_polyhost/#curves")
        local.invoke("away", "a")
        expect(chart(page, "Latency of the model, p50")).to_have_attribute(LABEL, re.compile("AllTraffic"))
        show(page, "Endpoints")
        expect(page.get_by_role("region", name="Endpoint away").get_by_role("row")).to_have_count(2)
    expect(page.locator("#link")).to_have_text("disconnected, reconnecting")
    show(page, "Curves")
    expect(chart(page, "Latency of the model, p50")).to_have_attribute(LABEL, re.compile("AllTraffic"))
    show(page, "Endpoints")
    expect(page.get_by_role("region", name="Endpoint away").get_by_role("row")).to_have_count(2)
    with Emulator(EmulatorConfig(port=int(url.rpartition(":")[2]), command=COMMAND)):
        expect(page.locator("#link")).to_have_text("live")
        expect(page.get_by_text("No endpoints yet.")).to_be_visible()
    assert errors == []
    page.close()
