from collections.abc import Iterator

import pytest

from tests.container.native.http_server import HttpServer


@pytest.fixture
def server() -> Iterator[HttpServer]:
    server = HttpServer()
    yield server
    server.stop()
