import pytest

from benchmarks.results import Results
from benchmarks.targets import Row, rows


def measured(**first_answers_ms: float) -> Results:
    results = Results()
    for stack, value in first_answers_ms.items():
        results.add("cold", "lr", stack, {"load_ms": value / 2, "first_answer_ms": value})
    return results


def row(results: Results, what: str) -> Row:
    (found,) = [row for row in rows(results) if row.what == what]
    return found


@pytest.mark.parametrize(("polyhost", "met"), [(41.0, True), (41.1, False)])
def test_cold_target_is_the_limit_and_forty_milliseconds(polyhost: float, met: bool) -> None:
    found = row(measured(limit=1.0, stock=800.0, polyhost=polyhost), "cold first answer: lr")
    assert (found.stock, found.limit, found.polyhost, found.met) == (800.0, 1.0, polyhost, met)


def test_nothing_is_met_or_missed_without_its_measure() -> None:
    assert row(measured(stock=800.0), "cold first answer: lr").met is None
    assert row(measured(polyhost=10.0), "cold first answer: lr").met is None


@pytest.mark.parametrize(("polyhost", "met"), [(1500.0, True), (1499.0, False)])
def test_hot_target_is_a_ratio_to_stock(polyhost: float, met: bool) -> None:
    results = Results()
    results.add("hot", "lr", "stock", {"8_clients_per_second": 1000.0})
    results.add("hot", "lr", "polyhost", {"8_clients_per_second": polyhost})
    assert row(results, "hot, 8 clients: lr").met is met


def test_a_model_without_a_density_target_is_only_told() -> None:
    results = Results()
    results.add("density", "rf", "polyhost", {"per_model_mb": 11.0})
    found = row(results, "memory per model: rf")
    assert (found.polyhost, found.target, found.met) == (11.0, "", None)


@pytest.mark.parametrize(("p99_ms", "cold_per_second", "met"), [(8.0, 10.0, (True, True)), (8.1, 9.9, (False, False))])
def test_churn_has_two_targets(p99_ms: float, cold_per_second: float, met: tuple[bool, bool]) -> None:
    results = Results()
    figures = {"quiet_p99_ms": 4.0, "p99_ms": p99_ms, "cold_per_second": cold_per_second}
    results.add("churn", "lr", "polyhost", figures)
    assert (row(results, "hot p99 under churn: lr").met, row(results, "cold models going by: lr").met) == met


def test_the_last_of_a_thousand_may_cost_half_as_much_again_as_the_first() -> None:
    results = Results()
    figures = {"models": 1000.0, "per_model_mb": 6.0, "first_ten_ms": 40.0, "last_ten_ms": 60.1}
    results.add("thousand", "lr", "polyhost", figures)
    assert row(results, "cold first answer, last ten of 1000").met is False
