"""The targets, and the table that says which were met."""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.results import Results

COLD_ABOVE_LIMIT_MS = 40.0
DENSITY_MB = {"lr": 7.0, "mlp": 12.0, "squeezenet": 30.0}
HOT_RATIO = {"lr": 1.5, "mlp": 1.5, "rf": 1.8, "squeezenet": 1.8, "resnet18": 1.8}
CHURN_P99_RATIO = 2.0
CHURN_COLD_PER_SECOND = 10.0
THOUSAND_RATIO = 1.5

# The native front end's. Ratios are to stock in the same run: a machine's figures differ from day to day.
NATIVE_COLD_ABOVE_LIMIT_MS = 20.0
NATIVE_DENSITY_MB = {"lr": 5.0}
NATIVE_HOT_RATIO = {"empty": 5.8, "lr": 2.9, "mlp": 3.4, "rf": 2.0, "squeezenet": 2.0, "resnet18": 2.0}
NATIVE_HOT_P99_RATIO = {"lr": 0.47}
NATIVE_MODELS = 2000.0
NATIVE_PING_MS = 400.0
NATIVE_BESIDE_ZYGOTES_MB = 60.0
IDLE_RATIO = 0.95
FAIRNESS_RATIO = 3.0


@dataclass(frozen=True)
class Target:
    """What a figure should be. `bound` is None if the run lacks a figure from which it follows."""

    text: str
    bound: float | None
    at_least: bool = False

    def met_by(self, figure: float | None) -> bool | None:
        if figure is None or self.bound is None:
            return None
        return figure >= self.bound if self.at_least else figure <= self.bound


@dataclass(frozen=True)
class TableRow:
    """One line of the table. `polyhost` is polyhost on MMS; `target` is empty for a figure without a target."""

    what: str
    unit: str
    stock: float | None
    limit: float | None
    polyhost: float | None
    native: float | None
    target: str = ""
    met: bool | None = None
    native_target: str = ""
    native_met: bool | None = None


def rows(results: Results) -> list[TableRow]:
    parts = (_cold, _density, _thousand, _hot, _batches, _idle, _fairness, _churn, _startup, _footprint)
    return [row for part in parts for row in part(results)]


def _cold(results: Results) -> Iterator[TableRow]:
    for model in results.models("cold"):
        figures = _Figures(results, "cold", model)
        yield figures.row("load_ms", f"cold load: {model}", "ms")
        limit = figures.of("limit", "first_response_ms")
        targets = (
            Target(f"limit + {above:.0f} ms", None if limit is None else limit + above)
            for above in (COLD_ABOVE_LIMIT_MS, NATIVE_COLD_ABOVE_LIMIT_MS)
        )
        yield figures.row("first_response_ms", f"cold first response: {model}", "ms", *targets)


def _density(results: Results) -> Iterator[TableRow]:
    for model in results.models("density"):
        targets = (
            Target(f"≤ {most[model]:.0f} MB", most[model]) if model in most else None
            for most in (DENSITY_MB, NATIVE_DENSITY_MB)
        )
        yield _Figures(results, "density", model).row("per_model_mb", f"memory per model: {model}", "MB", *targets)


def _thousand(results: Results) -> Iterator[TableRow]:
    for model in results.models("thousand"):
        figures = _Figures(results, "thousand", model)
        target = Target(f"≥ {NATIVE_MODELS:,.0f}", NATIVE_MODELS, at_least=True)
        yield figures.row("models", f"many at once, all responding: {model}", "models", None, target)
        yield figures.row("per_model_mb", f"memory per model, many at once: {model}", "MB")
        yield figures.row("first_ten_ms", "cold first response, first ten of many", "ms")
        targets = (_times(figures.of(stack, "first_ten_ms"), THOUSAND_RATIO, "first ten") for stack in _OURS)
        yield figures.row("last_ten_ms", "cold first response, last ten of many", "ms", *targets)


def _hot(results: Results) -> Iterator[TableRow]:
    for model in results.models("hot"):
        figures = _Figures(results, "hot", model)
        yield figures.row("1_clients_per_second", f"hot, 1 client: {model}", "/s")
        yield figures.row("1_clients_p99_ms", f"hot, 1 client, p99: {model}", "ms")
        rate, p99 = "8_clients_per_second", "8_clients_p99_ms"
        targets = (_times_stock(figures, rate, ratios.get(model), True) for ratios in (HOT_RATIO, NATIVE_HOT_RATIO))
        yield figures.row(rate, f"hot, 8 clients: {model}", "/s", *targets)
        target = _times_stock(figures, p99, NATIVE_HOT_P99_RATIO.get(model), False)
        yield figures.row(p99, f"hot, 8 clients, p99: {model}", "ms", None, target)


def _batches(results: Results) -> Iterator[TableRow]:
    """Compare with the same load without batches, above."""
    for model in results.models("batches"):
        figures = _Figures(results, "batches", model)
        yield figures.row("per_second", f"hot, 8 clients, in batches: {model}", "/s")
        yield figures.row("p99_ms", f"hot, 8 clients, in batches, p99: {model}", "ms")


def _idle(results: Results) -> Iterator[TableRow]:
    for model in results.models("idle"):
        figures = _Figures(results, "idle", model)
        yield figures.row("without_per_second", f"hot, no idle connections: {model}", "/s")
        target = _times(figures.of("native", "without_per_second"), IDLE_RATIO, "without", at_least=True)
        yield figures.row("per_second", f"hot, 1,000 idle connections: {model}", "/s", None, target)


def _fairness(results: Results) -> Iterator[TableRow]:
    for model in results.models("fairness"):
        figures = _Figures(results, "fairness", model)
        yield figures.row("alone_p99_ms", f"p99, 1 client, alone: {model}", "ms")
        target = _times(figures.of("native", "alone_p99_ms"), FAIRNESS_RATIO, "alone")
        yield figures.row("p99_ms", f"p99, another has 64 clients: {model}", "ms", None, target)


def _churn(results: Results) -> Iterator[TableRow]:
    for model in results.models("churn"):
        figures = _Figures(results, "churn", model)
        yield figures.row("quiet_p99_ms", f"hot p99, quiet: {model}", "ms")
        target = _times(figures.of("polyhost", "quiet_p99_ms"), CHURN_P99_RATIO, "quiet")
        yield figures.row("p99_ms", f"hot p99 under churn: {model}", "ms", target)
        target = Target(f"≥ {CHURN_COLD_PER_SECOND:g}/s", CHURN_COLD_PER_SECOND, at_least=True)
        yield figures.row("cold_per_second", f"cold models going by: {model}", "/s", target)


def _startup(results: Results) -> Iterator[TableRow]:
    for model in results.models("startup"):
        figures = _Figures(results, "startup", model)
        yield figures.row("ping_ms", "start to /ping", "ms", None, Target(f"≤ {NATIVE_PING_MS:.0f} ms", NATIVE_PING_MS))
        yield figures.row("first_response_ms", f"start to first response: {model}", "ms")


def _footprint(results: Results) -> Iterator[TableRow]:
    for model in results.models("footprint"):
        figures = _Figures(results, "footprint", model)
        yield figures.row("pss_mb", "memory without models", "MB")
        target = Target(f"≤ {NATIVE_BESIDE_ZYGOTES_MB:.0f} MB", NATIVE_BESIDE_ZYGOTES_MB)
        yield figures.row("beside_zygotes_mb", "the same, beside the zygotes", "MB", None, target)


_OURS = ("polyhost", "native")


_NO_TARGET = Target("", None)


@dataclass(frozen=True)
class _Figures:
    """The figures of one stage with one model."""

    results: Results
    stage: str
    model: str

    def of(self, stack: str, figure: str) -> float | None:
        return self.results.get(self.stage, self.model, stack, figure)

    def row(
        self, figure: str, what: str, unit: str, target: Target | None = None, native_target: Target | None = None
    ) -> TableRow:
        stock, limit, polyhost, native = (self.of(stack, figure) for stack in ("stock", "limit", *_OURS))
        target, native_target = target or Target("", None), native_target or Target("", None)
        verdicts = (target.text, target.met_by(polyhost), native_target.text, native_target.met_by(native))
        return TableRow(what, unit, stock, limit, polyhost, native, *verdicts)


def _times(figure: float | None, ratio: float, what: str, at_least: bool = False) -> Target:
    return Target(
        f"{'≥' if at_least else '≤'} {ratio:g} x {what}", None if figure is None else figure * ratio, at_least
    )


def _times_stock(figures: _Figures, figure: str, ratio: float | None, at_least: bool) -> Target | None:
    return None if ratio is None else _times(figures.of("stock", figure), ratio, "stock", at_least)
