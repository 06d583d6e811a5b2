"""A browser, and the dashboard of the emulator that all tests share."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.emulator.conftest import Local
from tests.support.browser import opened, running_browser


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, local: Local) -> Iterator[Page]:
    """Open the dashboard."""
    with opened(browser, local.emulator.url, local.emulator.url) as page:
        yield page
