"""The dashboard of a container with a model store, in a real browser, with both front ends."""

import base64
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import check_widths, opened, running_browser
from tests.support.container import ContainerProcess, running
from tests.support.model_store import TARGET, archive_of, put, says
from tests.support.waiting import wait_for

TOKEN = "a-token-of-thirty-two-characters"
SETTINGS = {"SAGEMAKER_MULTI_MODEL": "", "POLYHOST_ZYGOTES": "bare", "POLYHOST_STORE_CHECK_SECONDS": "1"}
MARKUP = "<img src=x onerror=document.title='changed'>.tar.gz"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture
def container(front: str, tmp_path: Path) -> Iterator[ContainerProcess]:
    for name in ("a.tar.gz", MARKUP):
        put(tmp_path / "store", name, says(name))
    put(tmp_path / "store", "bad.tar.gz", archive_of("raises_in_predict"))
    with running_with_page(tmp_path, front, POLYHOST_PAGE="on") as started:
        yield started


def running_with_page(folder: Path, front: str, **environ: str) -> AbstractContextManager[ContainerProcess]:
    places = {"POLYHOST_STATE_DIR": str(folder), "POLYHOST_MODEL_STORE": str(folder / "store")}
    return running(folder, front, **SETTINGS, **places, **environ)


def invoke(container: ContainerProcess, name: str) -> httpx.Response:
    return container.http.post("/invocations", content=b"{}", headers={TARGET: name})


def test_models_memory_and_events_are_shown_live(browser: Browser, container: ContainerProcess, tmp_path: Path) -> None:
    origin = f"http://127.0.0.1:{container.port}"
    with opened(browser, f"{origin}/_polyhost", origin) as page:
        assert page.url == f"{origin}/_polyhost/"
        expect(page.locator("#link")).to_have_text("live")
        expect(page).to_have_title("polyhost container")
        shown = page.get_by_role("region", name=f"Endpoint file://{tmp_path}/store/")
        expect(shown.locator("h3")).to_contain_text("InService")
        expect(shown).to_contain_text("0 models loaded")
        for _ in range(3):
            assert invoke(container, "a.tar.gz").text == "a.tar.gz"
        row = shown.locator("tbody tr", has_text="a.tar.gz@")
        expect(row.locator("td").nth(3)).to_have_text("3")
        expect(row.locator("td").nth(4)).to_have_text("1")
        expect(row.locator("svg")).to_have_attribute("aria-label", re.compile("last 3 requests"))
        for gauge in ("Memory", "Disk"):
            meter = shown.get_by_role("meter", name=f"{gauge} of")
            assert " of " in (meter.get_attribute("aria-valuetext") or "")
        expect(page.locator("#events li", has_text="a.tar.gz@").filter(has_text="fetched").first).to_be_visible()
        assert invoke(container, "bad.tar.gz").status_code == 500
        expect(shown.locator("tbody tr", has_text="bad.tar.gz@").locator("td").nth(5)).to_have_text("1")
        put(tmp_path / "store", "a.tar.gz", says("new"))
        wait_for(lambda: invoke(container, "a.tar.gz").text == "new", "the new version")
        expect(page.locator("#events li", has_text="takes the place of").first).to_be_visible()
        assert invoke(container, MARKUP).status_code == 200
        expect(shown.locator("tbody tr", has_text=MARKUP)).to_be_visible()
        assert page.locator("img").count() == 0 and page.title() == "polyhost container"
        check_widths(page)


def test_what_is_sent_live_ends_whole_with_the_container(container: ContainerProcess) -> None:
    with container.http.stream("GET", "/_polyhost/events") as response:
        lines = response.iter_lines()
        assert next(lines) == "event: state"
        container.process.terminate()
        assert list(lines)[-1] == ""  # httpx raises an error if the last chunk is missing
    assert container.process.wait(60) == 0


def test_other_web_pages_do_not_get_it_and_nobody_changes_anything(container: ContainerProcess) -> None:
    http = container.http
    assert http.get("/_polyhost/state").json()["of"] == "container"
    assert http.get("/_polyhost/state", headers={"Host": "rebound.example"}).status_code == 403
    assert http.get("/_polyhost/state", headers={"Origin": "http://other.example"}).status_code == 403
    assert http.post("/_polyhost/state").status_code == 405
    for path in ("/_polyhost/static/..%2ffiles.py", "/_polyhost/static/../files.py", "/_polyhost/faults"):
        assert http.get(path).status_code == 404, path
    found = http.get("/_polyhost/static/dashboard.js")
    assert http.get("/_polyhost/static/dom.js", headers={"Origin": "http://127.0.0.1"}).status_code == 200  # a module
    assert found.status_code == 200 and "script-src 'self'" in found.headers["content-security-policy"]


def test_it_is_off_by_default(front: str, tmp_path: Path) -> None:
    put(tmp_path / "store", "a.tar.gz", says("a"))
    with running_with_page(tmp_path, front) as container:
        assert container.http.get("/_polyhost/").status_code == 404
        assert container.http.get("/_polyhost/state").status_code == 404


def test_a_browser_sends_the_token_as_its_password(browser: Browser, front: str, tmp_path: Path) -> None:
    put(tmp_path / "store", "a.tar.gz", says("a"))
    with running_with_page(tmp_path, front, POLYHOST_PAGE="on", POLYHOST_BEARER_TOKEN=TOKEN) as container:
        refused = container.http.get("/_polyhost/")
        assert (refused.status_code, refused.headers["www-authenticate"][:5]) == (401, "Basic")
        basic = base64.b64encode(f"me:{TOKEN}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}"}

        def status() -> str:
            (endpoint,) = container.http.get("/_polyhost/state", headers=headers).json()["endpoints"]
            return str(endpoint["status"])

        wait_for(lambda: status() == "InService", "a container in service")
        origin = f"http://127.0.0.1:{container.port}"
        credentials = {"username": "me", "password": TOKEN}
        with opened(browser, f"{origin}/_polyhost/", origin, http_credentials=credentials) as page:
            expect(page.locator("#link")).to_have_text("live")
            expect(page.locator("#totals")).to_contain_text("models loaded")
