"""Reuse of encoded request headers, which changes no byte."""

import pytest

from polyhost.container.native.encoder import encode_headers
from polyhost.container.native.header_cache import HeaderCache

FIRST, SECOND = [(b"accept", b"text/csv")], [(b"accept", b"text/csv"), (b"x-colour", b"blue")]


@pytest.mark.parametrize("enabled", [True, False])
def test_cache_encodes_as_without_it(enabled: bool) -> None:
    cache = HeaderCache(enabled)
    for headers in (FIRST, list(FIRST), SECOND, FIRST, []):
        assert cache.encode(headers) == encode_headers(headers)


@pytest.mark.parametrize("enabled", [True, False])
def test_cache_can_be_switched_off(enabled: bool) -> None:
    cache = HeaderCache(enabled)
    assert (cache.encode(FIRST) is cache.encode(list(FIRST))) == enabled
