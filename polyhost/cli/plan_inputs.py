"""What `polyhost plan` is given, read from files and containers: the calls, and what the models need."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from polyhost.cli import model_sizes
from polyhost.cli.errors import CommandError
from polyhost.cli.work_dir import work_dir
from polyhost.planning import calls, measured, profiles, traces
from polyhost.planning.calls import PlannedCall
from polyhost.planning.errors import PlanningError
from polyhost.planning.measured import Measured
from polyhost.planning.profiles import PartialProfile, Profiles

_MB = 1024 * 1024
_MAX_CALLS = 5_000_000
_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class ModelOptions:
    """Where the models' figures come from."""

    profiles: Path | None
    metrics: str | None
    store: Path | None
    state: Path | None
    memory_mb: float | None
    cold_ms: float | None
    hot_ms: float | None
    download_ms: float | None


@dataclass(frozen=True)
class LoadOptions:
    """Where the calls come from: a trace, or else a distribution."""

    trace: Path | None
    time_key: str
    model_key: str
    models: int | None
    exponent: float | None
    rate: float | None
    seconds: float
    seed: int


@dataclass(frozen=True)
class PlannedModels:
    """What is known of the models. `calls`: how often a container was called for each; empty without its metrics."""

    profiles: Profiles
    names: Sequence[str]
    calls: Mapping[str, float]


def models(options: ModelOptions) -> PlannedModels:
    """Read the sources: what a file of profiles says comes first, then measurements, then the files' sizes.

    Raises PlanningError and CommandError.
    """
    if options.state is not None and options.store is None:
        raise CommandError(
            "--state has measurements by models' files; give --store, the folder of these models, as well"
        )
    by_hand = {} if options.profiles is None else profiles.read(options.profiles)
    found = Measured({}, {}) if options.metrics is None else _measured(options.metrics)
    sizes = {} if options.store is None else _sizes(options.store, options.state)
    otherwise = PartialProfile(
        memory_bytes=None if options.memory_mb is None else int(options.memory_mb * _MB),
        cold_s=None if options.cold_ms is None else options.cold_ms / 1e3,
        hot_s=None if options.hot_ms is None else options.hot_ms / 1e3,
        download_s=None if options.download_ms is None else options.download_ms / 1e3,
    )
    sources = (by_hand, found.profiles, sizes)
    names = dict.fromkeys(name for source in sources for name in source)
    return PlannedModels(Profiles(sources, otherwise), list(names), found.calls)


def load(options: LoadOptions, known: PlannedModels) -> list[PlannedCall]:
    """Return the calls: of the trace, or drawn. Raises PlanningError and CommandError."""
    if options.trace is not None:
        if options.rate is not None or options.models is not None or options.exponent is not None:
            raise CommandError("--trace says all calls; leave out --rate, --models and --exponent, or --trace")
        return traces.read(options.trace, options.time_key, options.model_key)
    if options.rate is None:
        raise CommandError("nothing says how many calls come; give --trace FILE, or --rate, calls per second")
    if options.rate * options.seconds > _MAX_CALLS:
        count = f"{options.rate * options.seconds:,.0f} calls"
        raise CommandError(
            f"--rate {options.rate:g} and --seconds {options.seconds:g} are {count}; at most {_MAX_CALLS:,}"
        )
    found = list(calls.drawn(_weights(options, known), options.rate, options.seconds, options.seed))
    if not found:
        raise CommandError(
            f"in {options.seconds:g} s at {options.rate:g} calls per second there is no call; take longer"
        )
    return found


def _weights(options: LoadOptions, known: PlannedModels) -> Mapping[str, float]:
    if known.calls and options.models is None and options.exponent is None:
        return known.calls
    names = list(known.names)
    if options.models is not None or not names:
        if options.models is None:
            raise CommandError(
                "nothing says how many models there are; give --models, --store, --profiles or --metrics"
            )
        if names and options.models > len(names):
            raise CommandError(f"--models is {options.models}, and the files name {len(names)}; give at most that many")
        names = names[: options.models] or [f"model-{number}" for number in range(1, options.models + 1)]
    return calls.zipf_weights(names, 1.0 if options.exponent is None else options.exponent)


def _sizes(store: Path, state: Path | None) -> dict[str, PartialProfile]:
    with work_dir() as work:
        found = model_sizes.of_store(store, state, work)
    return {name: PartialProfile(memory_bytes=size) for name, size in found.items()}


def _measured(source: str) -> Measured:
    """Read a container's /metrics, by its address or from a file."""
    if not source.startswith(("http://", "https://")):
        try:
            return measured.read(Path(source).read_text(), source)
        except (OSError, UnicodeDecodeError) as error:
            raise PlanningError(f"cannot read the metrics {source}: {error}") from error
    url = source if source.rstrip("/").endswith("/metrics") else f"{source.rstrip('/')}/metrics"
    try:
        response = httpx.get(url, timeout=_TIMEOUT_S, trust_env=False).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise PlanningError(f"cannot read the metrics of {url}: {error}; the native front end has them") from error
    return measured.read(response.text, url)
