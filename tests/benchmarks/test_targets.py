import pytest

from benchmarks.results import Results
from benchmarks.targets import TableRow, rows


def measured(**first_responses_ms: float) -> Results:
    results = Results()
    for stack, value in first_responses_ms.items():
        results.add("cold", "lr", stack, {"load_ms": value / 2, "first_response_ms": value})
    return results


def row(results: Results, what: str) -> TableRow:
    (found,) = [row for row in rows(results) if row.what == what]
    return found


@pytest.mark.parametrize(("polyhost", "met"), [(41.0, True), (41.1, False)])
def test_cold_target_is_the_limit_plus_forty_milliseconds(polyhost: float, met: bool) -> None:
    found = row(measured(limit=1.0, stock=800.0, polyhost=polyhost), "cold first response: lr")
    assert (found.stock, found.limit, found.polyhost, found.met) == (800.0, 1.0, polyhost, met)


def test_no_verdict_without_the_figures_it_needs() -> None:
    assert row(measured(stock=800.0), "cold first response: lr").met is None
    assert row(measured(polyhost=10.0), "cold first response: lr").met is None


def test_each_front_end_has_targets_of_its_own() -> None:
    found = row(measured(limit=1.0, polyhost=21.1, native=21.1), "cold first response: lr")
    assert (found.target, found.met) == ("limit + 40 ms", True)
    assert (found.native, found.native_target, found.native_met) == (21.1, "limit + 20 ms", False)


@pytest.mark.parametrize(("polyhost", "met"), [(1500.0, True), (1499.0, False)])
def test_hot_target_is_a_ratio_to_stock(polyhost: float, met: bool) -> None:
    results = Results()
    results.add("hot", "lr", "stock", {"8_clients_per_second": 1000.0})
    results.add("hot", "lr", "polyhost", {"8_clients_per_second": polyhost})
    assert row(results, "hot, 8 clients: lr").met is met


def test_native_hot_targets_are_ratios_to_stock_too() -> None:
    results = Results()
    results.add("hot", "lr", "stock", {"8_clients_per_second": 1000.0, "8_clients_p99_ms": 10.0})
    results.add("hot", "lr", "native", {"8_clients_per_second": 2900.0, "8_clients_p99_ms": 4.8})
    assert row(results, "hot, 8 clients: lr").native_met is True
    assert row(results, "hot, 8 clients, p99: lr").native_met is False
    results.add("hot", "empty", "native", {"8_clients_per_second": 90_000.0})
    assert row(results, "hot, 8 clients: empty").native_met is None


@pytest.mark.parametrize(
    ("stage", "what", "good", "bad"),
    [
        (
            "idle", "hot, 1,000 idle connections: lr",
            {"without_per_second": 1000.0, "per_second": 950.0}, {"without_per_second": 1000.0, "per_second": 949.0},
        ),
        (
            "fairness", "p99, another has 64 clients: lr",
            {"alone_p99_ms": 2.0, "p99_ms": 6.0}, {"alone_p99_ms": 2.0, "p99_ms": 6.1},
        ),
        ("footprint", "the same, beside the zygotes", {"beside_zygotes_mb": 60.0}, {"beside_zygotes_mb": 60.1}),
        ("startup", "start to /ping", {"ping_ms": 400.0}, {"ping_ms": 401.0}),
        ("density", "memory per model: lr", {"per_model_mb": 5.0}, {"per_model_mb": 5.1}),
        ("thousand", "many at once, all responding: lr", {"models": 2000.0}, {"models": 1999.0}),
    ],
)  # fmt: skip
def test_native_targets(stage: str, what: str, good: dict[str, float], bad: dict[str, float]) -> None:
    for figures, met in ((good, True), (bad, False)):
        results = Results()
        results.add(stage, "lr", "native", figures)
        found = row(results, what)
        assert (found.native_met, found.met) == (met, None)


def test_a_model_without_a_density_target_has_no_verdict() -> None:
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
    assert row(results, "cold first response, last ten of many").met is False
