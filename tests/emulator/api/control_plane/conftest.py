"""A control plane of its own for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.emulator.api.control_plane.harness import ControlPlaneHarness, running_control_plane


@pytest.fixture
async def plane(tmp_path: Path, anyio_backend: object) -> AsyncIterator[ControlPlaneHarness]:
    async with running_control_plane(tmp_path) as plane:
        yield plane
