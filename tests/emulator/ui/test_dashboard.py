"""The dashboard in a real browser, over a running emulator."""

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from botocore.exceptions import ClientError
from playwright.sync_api import Page, expect

from tests.emulator.api.serverless_endpoints import host_serverless
from tests.emulator.api.several_containers import container, delete, host
from tests.emulator.archives import archive
from tests.emulator.async_inference.harness import async_endpoint
from tests.emulator.conftest import Local
from tests.support.browser import check_widths

TWO_STATES = """new Promise((done) => {
  let seen = 0;
  const source = new EventSource("events");
  source.addEventListener("state", () => { seen += 1; if (seen === 2) { source.close(); done(); } });
})"""

Hosted = Callable[..., str]


def test_root_redirects_to_the_dashboard_which_updates_live(page: Page, local: Local, hosted: Hosted) -> None:
    assert page.url == f"{local.emulator.url}/_polyhost/"
    expect(page.locator("#link")).to_have_text("live")
    name = hosted("a", "b", count=2)  # nothing reloads the page
    endpoint = page.get_by_role("region", name=f"Endpoint {name}")
    expect(endpoint.locator("h3")).to_contain_text("InService")
    expect(endpoint).to_contain_text("100 % of the traffic")
    expect(endpoint).to_contain_text("2 \u00d7 ml.m5.xlarge, multi-model")
    expect(endpoint.locator(".instance")).to_have_count(2)
    for model in ("a", "b", "b", "b"):
        local.invoke(name, model)
    row = endpoint.locator("tbody tr", has_text="b.tar.gz")
    expect(row.locator("td").nth(3)).to_have_text("3")
    expect(row.locator("td").nth(4)).to_have_text("1")
    expect(row.locator("svg")).to_have_attribute("aria-label", re.compile("last 3 requests"))
    memory = endpoint.get_by_role("meter", name="Memory of").first
    expect(memory).to_have_attribute("aria-valuetext", re.compile("of 16 GiB"))
    event = page.locator("#events li", has_text=name).filter(has_text="b.tar.gz").filter(has_text="loaded in")
    expect(event.first).to_be_visible()


def test_several_containers_are_shown(page: Page, local: Local) -> None:
    for mode, words in (
        ("Serial", "pipeline of one → two"),
        ("Direct", "direct invocation of one, two"),
    ):
        name = f"shown-{mode}"
        host(local, name, container(local, name, "one"), container(local, name, "two"), mode=mode)
        endpoint = page.get_by_role("region", name=f"Endpoint {name}")
        expect(endpoint).to_contain_text(f"1 \u00d7 ml.m5.xlarge, {words}")
        expect(endpoint).to_contain_text("2 containers")
        expect(endpoint).to_contain_text("two (pid ")
        delete(local, name)


def test_a_shadow_variant_is_shown_as_one(page: Page, local: Local) -> None:
    name = "shown-shadow"
    local.s3.put_object(Bucket="models", Key=f"{name}/model.tar.gz", Body=archive("one"))
    local.model(name, multi_model=False)
    variants = [
        {"VariantName": role, "ModelName": name, "InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 1}
        for role in ("live", "candidate")
    ]
    local.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=variants[:1],
        ShadowProductionVariants=[variants[1] | {"InitialVariantWeight": 0.25}],
    )
    local.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    local.wait(name)
    shown = page.get_by_role("region", name=f"Endpoint {name}").locator(".variant h4")
    expect(shown.nth(0)).to_contain_text("live100 % of the traffic")
    expect(shown.nth(1)).to_contain_text("candidateshadow: copies of 25 % of the traffic, 0 on their way")
    delete(local, name)


def test_the_queue_of_an_asynchronous_endpoint_is_shown(page: Page, local: Local) -> None:
    with async_endpoint(local, "shown-async", per_instance=3) as endpoint:
        shown = page.get_by_role("region", name="Endpoint shown-async")
        expect(shown).to_contain_text("queue: 0 waiting · 0 in flight · at most 3 per instance")
        endpoint.resize(0)
        endpoint.invoke()
        expect(shown).to_contain_text("queue: 1 waiting · 0 in flight · at most 3 per instance · the oldest is ")


def test_a_transform_job_is_shown(page: Page, local: Local, tmp_path: Path) -> None:
    name, mark = "shown-job", tmp_path / "mark"
    model = archive("one", invoke_mark=str(mark))
    for key, body in ((f"{name}/model.tar.gz", model), (f"{name}/in/a", b"x"), (f"{name}/in/b", b"y")):
        local.s3.put_object(Bucket="models", Key=key, Body=body)
    local.model(name, multi_model=False)
    local.sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName=name,
        TransformInput={"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://models/{name}/in/"}}},
        TransformOutput={"S3OutputPath": f"s3://models/{name}/out"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    job = page.get_by_role("region", name=f"Transform job {name}")
    expect(job).to_contain_text("InProgress")
    expect(job).to_contain_text("transform job: 0 of 2 objects · 0 records \u00b7 1 \u00d7 ml.m5.large")
    expect(job.locator(".instance .pill")).to_have_text("InService")
    mark.touch()
    expect(job).to_contain_text("Completed")
    expect(job).to_contain_text("transform job: 2 of 2 objects · 2 records · ")
    expect(job.locator(".instance")).to_have_count(0)


def test_a_serverless_endpoint_shows_its_containers(page: Page, local: Local) -> None:
    name = "shown-serverless"
    host_serverless(local, name, MaxConcurrency=3, ProvisionedConcurrency=1)
    endpoint = page.get_by_role("region", name=f"Endpoint {name}")
    expect(endpoint).to_contain_text(
        "serverless, 1,024 MB \u00b7 0 of 3 calls \u00b7 1 warm, 0 busy, 0 starting \u00b7 1 provisioned"
    )
    expect(endpoint).to_contain_text("0 cold starts \u00b7 0 throttled")
    expect(endpoint.locator(".instance .pill")).to_have_text("Warm")
    delete(local, name)


def test_models_are_ordered_by_last_use(page: Page, local: Local, hosted: Hosted) -> None:
    name = hosted("a", "b", "c")
    for model in ("a", "b", "c", "a"):
        local.invoke(name, model)
    names = page.get_by_role("region", name=f"Endpoint {name}").locator("tbody td:first-child")
    expect(names).to_have_text(["a.tar.gz", "c.tar.gz", "b.tar.gz"])
    local.invoke(name, "b")
    expect(names).to_have_text(["b.tar.gz", "a.tar.gz", "c.tar.gz"])


def test_evictions_and_failures_are_shown(page: Page, local: Local, hosted: Hosted) -> None:
    name = hosted("a", "b", environment={"SMALL_CAPACITY": "1"})
    local.upload(name, "broken", load_status=500)
    local.upload(name, "bad", status=500)
    local.invoke(name, "a")
    local.invoke(name, "b")
    for model in ("broken", "bad"):
        with pytest.raises(ClientError):
            local.invoke(name, model)
    events = page.locator("#events li", has_text=name)
    for words in ("507", "to make room for b.tar.gz", "broken.tar.gz"):
        expect(events.filter(has_text=words).first).to_be_visible()
    row = page.get_by_role("region", name=f"Endpoint {name}").locator("tbody tr", has_text="bad.tar.gz")
    expect(row.locator("td").nth(5)).to_have_text("1")


def test_markup_in_a_models_name_is_shown_as_text(page: Page, local: Local, hosted: Hosted) -> None:
    markup = "<img src=x onerror=document.title='changed'>"
    name = hosted(markup)
    local.invoke(name, markup)
    endpoint = page.get_by_role("region", name=f"Endpoint {name}")
    expect(endpoint.locator("tbody td").first).to_have_text(f"{markup}.tar.gz")
    expect(page.locator("#events li .model", has_text=markup).first).to_be_visible()
    assert page.locator("img").count() == 0
    assert page.title() == "polyhost emulator"


def test_nothing_scrolls_sideways(page: Page, local: Local, hosted: Hosted) -> None:
    long, small = "a-name-of-one-hundred-letters" * 4, "a"
    name = hosted(long, small, count=2)
    for model in (long, small, long):
        local.invoke(name, model)
    rows = page.get_by_role("region", name=f"Endpoint {name}").get_by_role("row")
    expect(rows.filter(has_text=long).get_by_role("cell").nth(3)).to_have_text("2")
    check_widths(page)


def test_filter_and_pause(page: Page, local: Local, hosted: Hosted) -> None:
    name = hosted("apple", "pear")
    for model in ("apple", "pear"):
        local.invoke(name, model)
    rows = page.get_by_role("region", name=f"Endpoint {name}").locator("tbody tr")
    expect(rows).to_have_count(2)
    page.get_by_label("Filter models and events").fill("PEAR")
    expect(rows).to_have_count(1)
    page.get_by_label("Filter models and events").fill("")
    expect(rows).to_have_count(2)
    requests = rows.filter(has_text="pear").locator("td").nth(3)
    expect(requests).to_have_text("1")
    page.get_by_role("button", name="Pause").click()
    local.invoke(name, "pear")
    page.evaluate(TWO_STATES)
    expect(requests).to_have_text("1")
    page.get_by_role("button", name="Paused").click()
    expect(requests).to_have_text("2")


def test_deleted_endpoint_disappears(page: Page, local: Local, hosted: Hosted) -> None:
    name = hosted("a")
    endpoint = page.get_by_role("region", name=f"Endpoint {name}")
    expect(endpoint).to_be_visible()
    local.sagemaker.delete_endpoint(EndpointName=name)
    local.wait(name, "endpoint_deleted")
    expect(endpoint).to_have_count(0)
    local.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)  # for the fixture to delete
    local.wait(name)


def test_only_static_files_are_served(local: Local) -> None:
    url = f"{local.emulator.url}/_polyhost"
    assert httpx.get(f"{url}/static/dashboard.js", trust_env=False).status_code == 200
    for path in ("..%2f__init__.py", "..%2fdashboard.py", "none"):
        assert httpx.get(f"{url}/static/{path}", trust_env=False).status_code == 404, path
    assert "script-src 'self'" in httpx.get(f"{url}/", trust_env=False).headers["content-security-policy"]


def test_a_deployment_shows_its_stage_and_shares(page: Page, local: Local, hosted: Hosted) -> None:
    endpoint = hosted(multi_model=False)
    local.config(f"{endpoint}-next", model=endpoint)
    size = {"Type": "CAPACITY_PERCENT", "Value": 25}
    routing = {"Type": "CANARY", "WaitIntervalInSeconds": 2, "CanarySize": size}
    policy = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}
    local.sagemaker.update_endpoint(
        EndpointName=endpoint, EndpointConfigName=f"{endpoint}-next", DeploymentConfig=policy
    )
    section = page.get_by_role("region", name=f"Endpoint {endpoint}", exact=True)
    done = f"deployment of {endpoint}-next: Done · CANARY · 100 % of the traffic"
    expect(section).to_contain_text(done, timeout=120_000)
    expect(section).to_contain_text(f"single model, of {endpoint}-next")
    local.wait(endpoint)
