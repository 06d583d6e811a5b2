"""What polyhost knows of each framework, in one row each: `Framework`.

A new framework is a row here, a handler module, and an extra in pyproject.toml. Other distributions add rows of their
own by an entry point of the group `polyhost.handlers` whose value, "module:attribute", is a `Framework`:

    [project.entry-points."polyhost.handlers"]
    xgboost = "polyhost_xgboost:FRAMEWORK"

Its module is imported by the supervisor and the fork server too, which import no framework: it should need nothing but
the standard library and this module, which itself needs the standard library only. An entry point that cannot be used
is skipped, and `broken_plugins` says why.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from operator import attrgetter
from typing import Any

ENTRY_POINTS = "polyhost.handlers"
BARE = "bare"  # the zygote without a framework, for models that need none that we know
SCRIPT = "script"  # the handler of an archive's own inference.py

_MB = 1024 * 1024


@dataclass(frozen=True)
class Framework:
    """One framework: how its models are recognised, what serves them, and what to do before a fork.

    `name` is the package to import; where it is installed, a zygote is kept for it. A function is named by
    "module:function", and imported where it is called only.
    """

    name: str
    handler: str  # "module:Class", a polyhost.handlers.base.Handler
    # "module:Class", a polyhost.handlers.script.defaults.Defaults: what stands in for functions that a script lacks.
    script_defaults: str = "polyhost.handlers.script.defaults:Defaults"
    # Patterns of the files at an archive's root that the handler loads.
    files: tuple[str, ...] = ()
    # Top-level packages whose import in a model's own code means this framework.
    imports: tuple[str, ...] = ()
    # Further modules that a zygote imports, besides the handler's: what a first load or prediction would import.
    preload: tuple[str, ...] = ()
    # A function that a zygote calls before it forks; polyhost.handlers.warm_up says what it does.
    warm_up: str | None = None
    # What a model takes besides its files, in bytes: its process, page tables, Java's threads.
    base_bytes: int = 12 * _MB
    # Bytes of memory for each byte of the model's files: a loader holds the file and the model at once.
    bytes_factor: float = 2.0
    uses_gpu: bool = False
    # Variables of the container's processes, unless they are set.
    environment: Mapping[str, str] = field(default_factory=dict)
    # Functions that take a whole number below 2**32 and set the state of a random generator. Each worker calls those
    # whose module is imported: forks of one zygote would all draw the same numbers.
    reseed: tuple[str, ...] = ()
    # Texts of a RuntimeError or OSError that mean a lack of memory, whatever their case.
    out_of_memory: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name in (BARE, SCRIPT):
            raise ValueError(f"name={self.name!r}: must be the name of a package, and not {BARE!r} or {SCRIPT!r}")
        for name in ("files", "imports", "preload", "reseed", "out_of_memory"):
            if not isinstance(getattr(self, name), tuple):
                raise ValueError(f"{name}={getattr(self, name)!r}: must be a tuple of strings")
        for name in (self.handler, self.script_defaults, *self.reseed, *([self.warm_up] if self.warm_up else ())):
            if not all(name.partition(":")):
                raise ValueError(f"{name!r} must be written as 'module:attribute'")

    @property
    def steps(self) -> tuple[str, ...]:
        """What a zygote does, in order: modules to import, and functions ("module:function") to call."""
        modules = (name.partition(":")[0] for name in (self.script_defaults, self.handler))
        return (*COMMON_STEPS, *modules, *self.preload, *([self.warm_up] if self.warm_up else ()))


# What every zygote does, one without a framework too.
COMMON_STEPS: tuple[str, ...] = (
    f"{__name__}:registered",  # the rows are read before the fork, and not by each worker
    "polyhost.handlers.service",
    "polyhost.handlers.script.handler",
    "PIL.BmpImagePlugin",
    "PIL.GifImagePlugin",
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "PIL.PpmImagePlugin",
)

# Unpickling imports an estimator's module (0.3 s for an ensemble).
_ESTIMATORS = (
    "sklearn.calibration",
    "sklearn.cluster",
    "sklearn.compose",
    "sklearn.decomposition",
    "sklearn.discriminant_analysis",
    "sklearn.dummy",
    "sklearn.ensemble",
    "sklearn.feature_extraction.text",
    "sklearn.feature_selection",
    "sklearn.gaussian_process",
    "sklearn.impute",
    "sklearn.isotonic",
    "sklearn.linear_model",
    "sklearn.mixture",
    "sklearn.multiclass",
    "sklearn.multioutput",
    "sklearn.naive_bayes",
    "sklearn.neighbors",
    "sklearn.neural_network",
    "sklearn.pipeline",
    "sklearn.preprocessing",
    "sklearn.semi_supervised",
    "sklearn.svm",
    "sklearn.tree",
)

# What torch.export.load imports at its first call (measured with torch 2.13: 1200 modules, 3 s).
_EXPORTED_PROGRAMS = (
    "torch.export._trace",
    "torch._inductor.sizevars",
    "torch.fx.experimental.validator",
    "torch.utils.serialization",
    "sympy.tensor.tensor",
)

# The heaviest to import first: a script may import two, and its process is forked from the zygote of one.
BUILT_IN = (
    Framework(
        name="mxnet",
        handler="polyhost.handlers.mxnet.handler:MxnetHandler",
        script_defaults="polyhost.handlers.mxnet.defaults:MxnetDefaults",
        files=("*-symbol.json", "*.params"),
        imports=("mxnet", "gluoncv", "gluonnlp"),
        warm_up="polyhost.handlers.warm_up:mxnet",
        base_bytes=24 * _MB,
        uses_gpu=True,
        # MXNet's default engine adds threads to hand work to; a SqueezeNet on the calling thread is a sixth faster.
        environment={"MXNET_USE_OPERATOR_TUNING": "0", "MXNET_ENGINE_TYPE": "NaiveEngine"},
        # "Failed to allocate CPU Memory"; its "Memory allocation failed" is in container/memory/oom.py.
        out_of_memory=("failed to allocate",),
    ),
    Framework(
        name="torch",
        handler="polyhost.handlers.torch.handler:TorchHandler",
        script_defaults="polyhost.handlers.torch.defaults:TorchDefaults",
        files=("*.pt", "*.pth", "*.pt2", "*.jit"),
        imports=("torch", "torchvision", "torchaudio", "transformers", "timm"),
        preload=_EXPORTED_PROGRAMS,
        warm_up="polyhost.handlers.warm_up:torch",
        base_bytes=16 * _MB,
        uses_gpu=True,
        # The generator itself: torch.seed() writes to 600 memory pages.
        reseed=("torch.random:default_generator.manual_seed",),
        out_of_memory=("can't allocate memory", "not enough memory"),
    ),
    Framework(
        name="sklearn",
        handler="polyhost.handlers.sklearn.handler:SklearnHandler",
        script_defaults="polyhost.handlers.sklearn.defaults:SklearnDefaults",
        files=("*.joblib", "*.pkl", "*.p", "*.pickle"),
        imports=("sklearn", "joblib", "pandas", "scipy", "xgboost", "lightgbm"),
        # The first prediction looks up plugins of narwhals by importlib.metadata.
        preload=("importlib.metadata", *_ESTIMATORS),
        warm_up="polyhost.handlers.warm_up:sklearn",
        bytes_factor=3.0,  # a compressed pickle grows
    ),
)

# Part of every framework's process, so any of them serves a script that imports these; the lightest is meant.
COMMON_IMPORTS = ("numpy", "PIL")
LIGHTEST = "sklearn"

# One thread a worker: the models share the cores, and a fork keeps no pool of threads. MMS's own worker sets this and
# MXNET_USE_OPERATOR_TUNING too (mms/model_service_worker.py).
_COMMON_ENVIRONMENT = {"OMP_NUM_THREADS": "1"}
# With a plain number: numpy.random.seed() without one writes to 70 memory pages.
_COMMON_RESEED = ("numpy.random:seed",)
# How a model's memory is estimated where its framework is unknown.
_UNKNOWN = Framework(name="unknown", handler="polyhost.handlers.script.handler:ScriptHandler")


@cache
def registered() -> Mapping[str, Framework]:
    """Return all rows by name: those of plugins first, since they are more specific, then the built-in ones."""
    plugins, _ = _plugins()
    return {row.name: row for row in (*plugins, *BUILT_IN)}


def broken_plugins() -> Mapping[str, str]:
    """Return why an entry point is not used, by its name."""
    return _plugins()[1]


def named(name: str) -> Framework:
    """Return the row of this name, or one of default values."""
    return registered().get(name, _UNKNOWN)


def zygote_steps() -> dict[str, tuple[str, ...]]:
    """Return the steps of each zygote by its name."""
    return {**{name: row.steps for name, row in registered().items()}, BARE: COMMON_STEPS}


def environment() -> dict[str, str]:
    """Return the variables that the container's processes get unless they are set."""
    rows = registered().values()
    return {**_COMMON_ENVIRONMENT, **{name: value for row in rows for name, value in row.environment.items()}}


def reseed(number: int) -> None:
    """Set the random generators of all imported frameworks."""
    for names in (_COMMON_RESEED, *(row.reseed for row in registered().values())):
        for name in names:
            module, _, function = name.partition(":")
            if module in sys.modules:
                attrgetter(function)(sys.modules[module])(number)


def resolve(name: str) -> Any:
    """Import what "module:attribute" names."""
    module, _, attribute = name.partition(":")
    return attrgetter(attribute)(importlib.import_module(module))


@cache
def _plugins() -> tuple[tuple[Framework, ...], Mapping[str, str]]:
    """Load the entry points, once in a process: their rows, and why others have none."""
    from importlib.metadata import entry_points  # only here: its import takes longer than that of all this

    rows: dict[str, Framework] = {}
    broken: dict[str, str] = {}
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        try:
            row = _row_of(point.load, point.value)
            if row.name in rows or row.name in {built_in.name for built_in in BUILT_IN}:
                raise ValueError(f"there is a framework {row.name!r} already")
        except (Exception, SystemExit) as error:
            broken[point.name] = f"{type(error).__name__}: {error}"
        else:
            rows[row.name] = row
    return tuple(rows.values()), broken


def _row_of(load: Callable[[], Any], value: str) -> Framework:
    row = load()
    if not isinstance(row, Framework):
        raise TypeError(f"{value} is an object of type {type(row).__name__}; it must be a {__name__}.Framework")
    return row
