"""The plan beside a real container whose memory holds part of its models, shortened."""

import pytest

from benchmarks.capacity import Setup, compare
from benchmarks.memory_limit import NoMemoryLimitError


def test_the_plans_hit_rate_is_the_containers() -> None:
    setup = Setup(models=30, room=10, rate=10, seconds=20, exponent=0.9, seed=1, paced=False)
    try:
        found = compare(setup)
    except NoMemoryLimitError as error:
        pytest.skip(str(error))
    measured, planned = found.measured, found.planned
    assert measured.calls == planned.calls > 150
    assert measured.loads > 60 and measured.evictions > 50  # the memory does hold a part only
    assert measured.hit_rate == pytest.approx(planned.hit_rate, abs=0.1)
