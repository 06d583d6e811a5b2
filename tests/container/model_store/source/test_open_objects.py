"""Archives on their way to a fetch: each is taken once, and few are kept."""

import pytest

from polyhost.container.model_store.source.open_objects import OpenObjects
from polyhost.model_cache.interfaces import OpenObject

pytestmark = pytest.mark.anyio


def opened(etag: str) -> OpenObject:
    return OpenObject(etag, 0, iter(()))


async def test_each_is_taken_once() -> None:
    kept = OpenObjects()
    first, second = opened("1"), opened("2")
    kept.keep("a", first)
    kept.keep("a", second)
    assert kept.take("a") is second
    assert kept.take("a") is None


async def test_the_oldest_of_too_many_is_dropped() -> None:
    kept = OpenObjects()
    for number in range(17):
        kept.keep(str(number), opened(str(number)))
    assert kept.take("0") is None
    assert kept.take("1") is not None
    kept.close()
    assert kept.take("2") is None
