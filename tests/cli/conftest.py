from collections.abc import Iterator

import pytest

from examples.server import Server, serving


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The real container, started by the real command, for all tests of this folder."""
    with serving(tmp_path_factory.mktemp("served")) as server:
        yield server
