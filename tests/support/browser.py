"""A real browser for the dashboard's tests: Debian's Chromium, driven by Playwright."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TIMEOUT_MS = 120_000
_WIDER_THAN_THEIR_PLACE = """() => [...document.querySelectorAll("*")].filter((element) => {
  const scrolls = element === document.documentElement || /auto|scroll/.test(getComputedStyle(element).overflowX);
  return scrolls && element.scrollWidth > element.clientWidth;
}).map((element) => `${element.tagName} ${element.id || element.className}: ${element.scrollWidth} px`)"""


# WCAG 2.1, 1.4.3: the contrast of a text with what is behind it, by their relative luminances.
_TOO_FAINT = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const over = (color, below) => {
    canvas.fillStyle = `rgb(${below.join()})`;
    canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const behind = (element) => element
    ? over(getComputedStyle(element).backgroundColor, behind(element.parentElement)) : [255, 255, 255];
  const luminance = (color) => color
    .map((part) => part / 255)
    .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
  const contrast = (element) => {
    const [low, high] = [behind(element), over(getComputedStyle(element).color, behind(element))]
      .map(luminance).sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const shows = (element) => element.checkVisibility()
    && [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
  return [...document.body.querySelectorAll("*")].filter((element) => shows(element) && contrast(element) < 4.5)
    .map((element) => `${element.tagName} ${element.className}: ${contrast(element).toFixed(2)}`);
}"""


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Run Chromium while the block runs; without it, the test is skipped."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is missing; install Debian's package chromium")
    with sync_playwright() as playwright:
        expect.set_options(timeout=TIMEOUT_MS)
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=_ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, url: str, origin: str, **context: object) -> Iterator[Page]:
    """Open a page; an error in it, or a request to anything but the origin, fails the test."""
    settings = {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light", **context}
    opened = browser.new_context(**settings)  # type: ignore[arg-type]
    page = opened.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("request", lambda request: problems.extend([] if request.url.startswith(origin) else [request.url]))
    page.goto(url)
    yield page
    opened.close()
    assert problems == []


def check_widths(page: Page, *, at: tuple[int, ...] = (1400, 400)) -> None:
    """Check that nothing of the page scrolls sideways, wherever it is shown with one of these widths."""
    for width in at:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(_WIDER_THAN_THEIR_PLACE) == [], f"at {width} pixels"


def check_contrast(page: Page) -> None:
    """Check that every text that is shown stands out from what is behind it."""
    assert page.evaluate(_TOO_FAINT) == []
