"""The dashboard in a real browser, over a running emulator."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from botocore.exceptions import ClientError
from playwright.sync_api import Browser, Page, expect, sync_playwright

from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.server import Emulator
from tests.emulator.api.several_containers import container, delete, host
from tests.emulator.archives import archive
from tests.emulator.conftest import COMMAND, Local

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SCREENSHOT = os.environ.get("POLYHOST_SCREENSHOT")  # file for a screenshot of the dashboard
TWO_STATES = """new Promise((done) => {
  let seen = 0;
  const source = new EventSource("events");
  source.addEventListener("state", () => { seen += 1; if (seen === 2) { source.close(); done(); } });
})"""

Hosted = Callable[..., str]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is missing; install Debian's package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, local: Local) -> Iterator[Page]:
    """Open the dashboard; an error in it, or a request to anything but the emulator, fails the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(15_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("request", lambda request: problems.extend(_foreign_url(request.url, local.emulator.url)))
    page.goto(local.emulator.url)
    yield page
    context.close()
    assert problems == []


def _foreign_url(url: str, emulator_url: str) -> list[str]:
    return [] if url.startswith(emulator_url) else [url]


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
    assert "last 3 requests" in (row.locator("svg").get_attribute("aria-label") or "")
    memory = endpoint.get_by_role("meter", name="Memory of").first
    assert "of 16 GiB" in (memory.get_attribute("aria-valuetext") or "")
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


@pytest.mark.skipif(not SCREENSHOT, reason="POLYHOST_SCREENSHOT is not set")
def test_screenshot_of_a_dozen_models_on_two_instances(browser: Browser) -> None:
    models = [f"company-{number:02}" for number in range(16)]
    with Emulator(EmulatorConfig(port=0, command=COMMAND, memory_scale=0.01)) as emulator:
        local = Local(emulator)
        page = browser.new_page(viewport={"width": 1440, "height": 800}, color_scheme="light")
        page.goto(emulator.url)
        local.host("sensors", count=2, Environment={"SMALL_CAPACITY": "7"})
        for number, model in enumerate(models):
            times = {"load_seconds": 0.03 + 0.01 * (number % 5), "invoke_seconds": 0.002 * (number % 4)}
            local.upload("sensors", model, megabytes=5 + number % 7, **times)
        for step in range(240):
            local.invoke("sensors", models[(step * step + step // 7) % 14])
        for model in models[14:]:
            local.invoke("sensors", model)
        with pytest.raises(ClientError):
            local.invoke("sensors", "company-99")
        page.evaluate(TWO_STATES)
        expect(page.locator("tbody tr").first).to_be_visible()
        page.screenshot(path=SCREENSHOT)
        page.close()
