"""The dashboard's box that sends a request, in a real browser."""

import json
import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.emulator.conftest import Local
from tests.support.browser import TIMEOUT_MS, check_contrast, check_widths

Hosted = Callable[..., str]

MARKUP = "<img src=x onerror=document.title='changed'>"


@pytest.fixture
def page(browser: Browser, local: Local) -> Iterator[Page]:
    """Open the box. Chromium reports answers with errors on its console, which fails no test here."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(f"{local.emulator.url}/_polyhost/#request")
    yield page
    page.close()


def choose(page: Page, endpoint: str) -> None:
    page.get_by_role("combobox", name="Endpoint").select_option(label=f"{endpoint} (ap-northeast-2)")


def test_an_answer_is_shown_with_its_status_headers_and_time(page: Page, local: Local, hosted: Hosted) -> None:
    name = hosted("a", "b")
    choose(page, name)
    page.get_by_label("Variant", exact=True).select_option("AllTraffic")
    page.get_by_label("TargetModel").fill("b.tar.gz")
    page.get_by_label("Content type").fill("text/csv")
    page.get_by_label("Accept", exact=True).fill("application/x-own")
    page.get_by_label("Body", exact=True).fill("1,2,3")
    page.keyboard.press("Tab")
    expect(page.get_by_label("or a file")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    answer = page.get_by_role("region", name="Answer")
    expect(answer.locator("#answer-status")).to_have_text("200 OK")
    expect(answer.locator("#answer-time")).to_have_text(re.compile(r"^[\d.]+ m?s · \d+ B$"))
    expect(answer.get_by_role("row", name="x-amzn-invoked-production-variant")).to_contain_text("AllTraffic")
    body = json.loads(page.get_by_label("Body of the answer").inner_text())
    assert (body["name"], body["length"]) == ("b", 5)
    assert (body["headers"]["content-type"], body["headers"]["accept"]) == ("text/csv", "application/x-own")
    expect(page.get_by_role("button", name="Send")).to_be_focused()
    check_contrast(page)
    check_widths(page)


def test_errors_are_shown_as_those_of_aws(page: Page, local: Local, hosted: Hosted) -> None:
    name = hosted("a", "c")
    local.upload(name, "bad", status=500)
    choose(page, name)
    send, error = page.get_by_role("button", name="Send"), page.locator("#answer-error")
    for model, status, words in (
        ("", "400", "ValidationError: "),
        ("none.tar.gz", "400", "ValidationError: "),
        ("bad.tar.gz", "424", "ModelError: Received server error (500) from "),
        ("\ubaa8\ub378", "not sent", "The browser did not send it, or got no answer: "),
    ):
        page.get_by_label("TargetModel").fill(model)
        send.click()
        expect(page.locator("#answer-status")).to_contain_text(status)
        expect(error).to_contain_text(words)
    page.get_by_label("TargetModel").fill("a.tar.gz")
    send.click()
    expect(page.locator("#answer-status")).to_have_text("200 OK")
    expect(error).to_be_hidden()


def test_a_file_is_sent_as_it_is(page: Page, hosted: Hosted) -> None:
    choose(page, hosted(multi_model=False, settings={"quotes": False}))
    expect(page.get_by_label("TargetModel")).to_be_hidden()
    expect(page.get_by_label("Container", exact=True)).to_be_hidden()
    page.get_by_label("or a file").set_input_files({"name": "a.npy", "mimeType": "x/y", "buffer": bytes(range(256))})
    expect(page.get_by_label("Body", exact=True)).to_be_disabled()
    page.get_by_label("Content type").fill("application/x-npy")
    page.get_by_role("button", name="Send").click()
    body = page.get_by_label("Body of the answer")
    expect(body).to_contain_text('"length": 256')
    expect(body).to_contain_text('"content-type": "application/x-npy"')


def test_markup_is_sent_and_shown_as_text(page: Page, local: Local, hosted: Hosted) -> None:
    name = hosted(MARKUP)
    local.invoke(name, MARKUP)
    choose(page, name)
    model = f"{MARKUP}.tar.gz"
    expect(page.locator("#request-models option")).to_have_text([model])
    page.get_by_label("TargetModel").fill(model)
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_label("Body of the answer")).to_contain_text(MARKUP)
    assert page.locator("img").count() == 0 and page.title() == "polyhost emulator"
