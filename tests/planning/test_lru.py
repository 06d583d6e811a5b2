"""The memory of one machine beside two brute-force ones."""

from hypothesis import given
from hypothesis import strategies as st

from polyhost.planning.lru import LruMemory

MODELS = "abcdefgh"
calls = st.lists(st.sampled_from(MODELS), max_size=80)
sizes = st.fixed_dictionaries({model: st.integers(1, 10) for model in MODELS})


@given(calls, sizes, st.integers(10, 30))
def test_as_a_list_that_is_searched_and_summed_anew_each_time(
    called: list[str], size: dict[str, int], limit: int
) -> None:
    memory = LruMemory(limit)
    there: list[str] = []
    evicted = 0
    for model in called:
        assert memory.use(model, size[model]) is (model in there)
        if model in there:
            there.remove(model)
        else:
            while sum(size[other] for other in there) + size[model] > limit:
                there.pop(0)
                evicted += 1
        there.append(model)
        assert memory.models == there
        assert memory.used_bytes == sum(size[other] for other in there) <= limit
        assert memory.evictions == evicted


@given(calls, st.integers(1, 6))
def test_equal_models_are_there_if_few_others_were_used_since(called: list[str], room: int) -> None:
    """The stack distance: how many other models were used since the last use (Mattson et al., 1970)."""
    memory = LruMemory(10 * room + 9)
    for position, model in enumerate(called):
        earlier = called[:position]
        since = earlier[len(earlier) - earlier[::-1].index(model) :] if model in earlier else None
        expected = since is not None and len(set(since)) < room
        assert memory.use(model, 10) is expected


def test_round_robin_over_one_model_too_many_never_hits() -> None:
    memory = LruMemory(4)
    assert not any(memory.use(MODELS[number % 5], 1) for number in range(50))
    assert memory.evictions == 46


def test_a_model_without_size_evicts_nothing() -> None:
    memory = LruMemory(1)
    assert [memory.use(model, size) for model, size in [("a", 1), ("b", 0), ("a", 1), ("b", 0)]] == [
        False,
        False,
        True,
        True,
    ]
