"""A container that `polyhost serve` started."""

from collections.abc import Iterator

import pytest

from polyhost.processes import RunningContainer, running_container


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningContainer]:
    """Start the real container by the real command, once for all tests of this folder."""
    with running_container(tmp_path_factory.mktemp("served")) as container:
        yield container
