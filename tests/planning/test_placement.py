"""Consistent hashing."""

from collections import Counter

from polyhost.planning.placement import first_below, order_of

NAMES = [f"model-{number}" for number in range(1000)]


def test_models_spread_evenly() -> None:
    counts = Counter(order_of(name, 4)[0] for name in NAMES)
    assert sorted(counts) == [0, 1, 2, 3]
    assert all(200 < count < 300 for count in counts.values())


def test_one_machine_more_moves_models_to_it_only() -> None:
    moved = [name for name in NAMES if order_of(name, 4)[0] != order_of(name, 3)[0]]
    assert {order_of(name, 4)[0] for name in moved} == {3}
    assert 200 < len(moved) < 300


def test_each_placement_is_another_one() -> None:
    same = [name for name in NAMES if order_of(name, 4, 0)[0] == order_of(name, 4, 1)[0]]
    assert 200 < len(same) < 300


def test_bounded_load_takes_the_next_machine() -> None:
    assert first_below((2, 0, 1), [0, 0, 0], 1.0) == 2  # with one call and three machines all are above the mean
    assert first_below((2, 0, 1), [1, 1, 3], 1.25) == 0
    assert first_below((2, 0, 1), [5, 1, 5], 1.25) == 1
