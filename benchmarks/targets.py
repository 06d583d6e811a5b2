"""What was aimed at, and the table that says what was met."""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.results import Results

COLD_ABOVE_LIMIT_MS = 40.0
DENSITY_MB = {"lr": 7.0, "mlp": 12.0, "squeezenet": 30.0}
HOT_RATIO = {"lr": 1.5, "mlp": 1.5, "rf": 1.8, "squeezenet": 1.8, "resnet18": 1.8}
CHURN_P99_RATIO = 2.0
CHURN_COLD_PER_SECOND = 10.0
THOUSAND_RATIO = 1.5


@dataclass(frozen=True)
class Row:
    """One line of the table. `met` is None where nothing was aimed at, or not all was measured that it needs."""

    what: str
    unit: str
    stock: float | None
    limit: float | None
    polyhost: float | None
    target: str = ""
    met: bool | None = None


def rows(results: Results) -> list[Row]:
    return [*_cold(results), *_density(results), *_hot(results), *_churn(results), *_startup(results)]


def _cold(results: Results) -> Iterator[Row]:
    for model in results.models("cold"):
        yield _row(results, "cold", model, "load_ms", f"cold load: {model}", "ms")
        row = _row(results, "cold", model, "first_answer_ms", f"cold first answer: {model}", "ms")
        most = None if row.limit is None else row.limit + COLD_ABOVE_LIMIT_MS
        yield _at_most(row, most, f"limit + {COLD_ABOVE_LIMIT_MS:.0f} ms")


def _density(results: Results) -> Iterator[Row]:
    for model in results.models("density"):
        row = _row(results, "density", model, "per_model_mb", f"memory per model: {model}", "MB")
        most = DENSITY_MB.get(model)
        yield row if most is None else _at_most(row, most, f"≤ {most:.0f} MB")
    for model in results.models("thousand"):
        count = results.get("thousand", model, "polyhost", "models")
        yield _row(results, "thousand", model, "per_model_mb", f"memory per model, {count:.0f} loaded: {model}", "MB")
        first = results.get("thousand", model, "polyhost", "first_ten_ms")
        yield _row(results, "thousand", model, "first_ten_ms", f"cold first answer, first ten of {count:.0f}", "ms")
        last = _row(results, "thousand", model, "last_ten_ms", f"cold first answer, last ten of {count:.0f}", "ms")
        yield _at_most(last, None if first is None else first * THOUSAND_RATIO, f"≤ {THOUSAND_RATIO:g} x first ten")


def _hot(results: Results) -> Iterator[Row]:
    for model in results.models("hot"):
        yield _row(results, "hot", model, "1_clients_per_second", f"hot, 1 client: {model}", "/s")
        yield _row(results, "hot", model, "1_clients_p99_ms", f"hot, 1 client, p99: {model}", "ms")
        yield _at_least_times_stock(
            _row(results, "hot", model, "8_clients_per_second", f"hot, 8 clients: {model}", "/s"), HOT_RATIO[model]
        )
        yield _row(results, "hot", model, "8_clients_p99_ms", f"hot, 8 clients, p99: {model}", "ms")


def _churn(results: Results) -> Iterator[Row]:
    for model in results.models("churn"):
        quiet = _row(results, "churn", model, "quiet_p99_ms", f"hot p99, quiet: {model}", "ms")
        yield quiet
        most = None if quiet.polyhost is None else quiet.polyhost * CHURN_P99_RATIO
        churned = _row(results, "churn", model, "p99_ms", f"hot p99 under churn: {model}", "ms")
        yield _at_most(churned, most, f"≤ {CHURN_P99_RATIO:g} x quiet")
        cold = _row(results, "churn", model, "cold_per_second", f"cold models going by: {model}", "/s")
        met = None if cold.polyhost is None else cold.polyhost >= CHURN_COLD_PER_SECOND
        yield _with_target(cold, f"≥ {CHURN_COLD_PER_SECOND:g}/s", met)


def _startup(results: Results) -> Iterator[Row]:
    for model in results.models("startup"):
        yield _row(results, "startup", model, "ping_ms", "start to /ping", "ms")
        yield _row(results, "startup", model, "first_answer_ms", f"start to first answer: {model}", "ms")


def _row(results: Results, stage: str, model: str, figure: str, what: str, unit: str) -> Row:
    stock, limit, polyhost = (results.get(stage, model, stack, figure) for stack in ("stock", "limit", "polyhost"))
    return Row(what, unit, stock, limit, polyhost)


def _at_most(row: Row, most: float | None, target: str) -> Row:
    return _with_target(row, target, None if row.polyhost is None or most is None else row.polyhost <= most)


def _at_least_times_stock(row: Row, ratio: float) -> Row:
    met = None if row.polyhost is None or row.stock is None else row.polyhost >= row.stock * ratio
    return _with_target(row, f"≥ {ratio:g} x stock", met)


def _with_target(row: Row, target: str, met: bool | None) -> Row:
    return Row(row.what, row.unit, row.stock, row.limit, row.polyhost, target, met)
