"""The emulator whose S3 some tests use."""

from tests.emulator.conftest import local

__all__ = ["local"]
