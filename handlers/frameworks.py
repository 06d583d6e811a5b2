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
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from operator import attrgetter
from typing import Any

ENTRY_POINTS = "polyhost.handlers"
BARE = "bare"  # the zygote without a framework, for models that need none that we know
SCRIPT = "script"  # the handler of an archive's own inference.py

_MB = 1024 * 1024


@dataclass(frozen=True)
class ZygoteSteps:
    """What a zygote does, in order: modules to import ("a.b"), and functions to call ("a.b:function").

    `imports` are what any model needs: then a worker can be forked. `warm_ups` are what saves time and memory to the
    workers after it: modules that some models need, and calls of a tiny model.
    """

    imports: tuple[str, ...] = ()
    warm_ups: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[str]:
        return iter((*self.imports, *self.warm_ups))

    def __bool__(self) -> bool:
        return bool(self.imports or self.warm_ups)


@dataclass(frozen=True)
class Framework:
    """One framework: how its models are recognised, what serves them, and what to do before a fork.

    `name` is the package to import, unless `package` is; where it is installed, a zygote is kept for the framework. A
    function or class is named by "module:attribute", and imported where it is used only.
    """

    name: str
    handler: str  # "module:Class", a polyhost.handlers.base.Handler
    package: str = ""
    # "module:Class", a polyhost.handlers.script.defaults.Defaults: what stands in for functions that a script lacks.
    script_defaults: str = "polyhost.handlers.script.defaults:Defaults"
    # Patterns of the files at an archive's root that the handler loads.
    files: tuple[str, ...] = ()
    # Patterns of names that files of other kinds have too, such as "*.json". Such a file is this framework's model if
    # no file of the archive fits `files` of any framework, and `recognizes` says so of the bytes that it begins with:
    # a function, called in the model's own process, of a module that needs the standard library only.
    shared_files: tuple[str, ...] = ()
    recognizes: str | None = None
    # Top-level packages whose import in a model's own code means this framework.
    imports: tuple[str, ...] = ()
    # Further modules that a zygote imports, besides the handler's: what a first load or prediction would import.
    preload: tuple[str, ...] = ()
    # A function that a zygote calls before it forks any but an early worker; see polyhost.handlers.warm_up.
    warm_up: str | None = None
    # What a model takes besides its files, in bytes: its process, page tables, Java's threads.
    base_bytes: int = 12 * _MB
    # What its zygote takes, in bytes: the load that starts it is admitted if there is room for both.
    zygote_bytes: int = 0
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
    # Exceptions of the framework's native code whose texts are looked at as those of a RuntimeError ("module:Class").
    native_errors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name in (BARE, SCRIPT):
            raise ValueError(f"name={self.name!r}: must be the name of a package, and not {BARE!r} or {SCRIPT!r}")
        for name in ("files", "shared_files", "imports", "preload", "reseed", "out_of_memory", "native_errors"):
            if not isinstance(getattr(self, name), tuple):
                raise ValueError(f"{name}={getattr(self, name)!r}: must be a tuple of strings")
        if self.shared_files and self.recognizes is None:
            raise ValueError(f"shared_files={self.shared_files!r}: recognizes must name a function")
        functions = filter(None, (self.warm_up, self.recognizes))
        for name in (self.handler, self.script_defaults, *self.reseed, *self.native_errors, *functions):
            if not all(name.partition(":")):
                raise ValueError(f"{name!r} must be written as 'module:attribute'")

    @property
    def steps(self) -> ZygoteSteps:
        """What its zygote does before it forks."""
        modules = (name.partition(":")[0] for name in (self.script_defaults, self.handler))
        return ZygoteSteps((*COMMON_STEPS, *modules), (*self.preload, *([self.warm_up] if self.warm_up else ())))


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

# What loading and calling the first model of each kind imports (measured with transformers 5.24): transformers imports
# a module when it is first used.
_TRANSFORMERS = (
    "polyhost.handlers.huggingface.model",
    "polyhost.handlers.huggingface.streams",
    "peft",
    "torch.profiler._cupti_monitor",
    "transformers.generation.utils",
    *(
        f"transformers.pipelines.{name}"
        for name in (
            "feature_extraction",
            "fill_mask",
            "image_classification",
            "text_classification",
            "text_generation",
            "token_classification",
            "zero_shot_classification",
        )
    ),
    *(
        f"transformers.models.{name}.modeling_{name}"
        for name in (
            "albert",
            "bart",
            "bert",
            "deberta_v2",
            "distilbert",
            "electra",
            "gpt2",
            "llama",
            "marian",
            "mpnet",
            "qwen2",
            "roberta",
            "t5",
            "vit",
            "xlm_roberta",
        )
    ),
    "transformers.models.bert.tokenization_bert_legacy",
    "transformers.models.vit.image_processing_pil_vit",
)

# The heaviest to import first: a script may import two, and its process is forked from the zygote of one.
BUILT_IN = (
    Framework(
        name="huggingface",
        package="transformers",
        handler="polyhost.handlers.huggingface.handler:HuggingFaceHandler",
        script_defaults="polyhost.handlers.huggingface.defaults:HuggingFaceDefaults",
        files=("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin", "adapter_model.bin"),
        # Packages that mean SageMaker's Hugging Face image, whose scripts get other defaults than its PyTorch image's.
        imports=("transformers", "diffusers", "sentence_transformers", "optimum", "peft"),
        preload=_TRANSFORMERS,
        warm_up="polyhost.handlers.warm_up:huggingface",
        zygote_bytes=300 * _MB,
        base_bytes=24 * _MB,
        bytes_factor=1.2,  # the weights are mapped
        uses_gpu=True,
        environment={
            "HF_HUB_OFFLINE": "1",
            # Read by one thread, weights stay mapped; with several, transformers copies them.
            "HF_DEACTIVATE_ASYNC_LOAD": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        },
        out_of_memory=("can't allocate memory", "not enough memory"),
    ),
    Framework(
        name="mxnet",
        handler="polyhost.handlers.mxnet.handler:MxnetHandler",
        script_defaults="polyhost.handlers.mxnet.defaults:MxnetDefaults",
        files=("*-symbol.json", "*.params"),
        imports=("mxnet", "gluoncv", "gluonnlp"),
        warm_up="polyhost.handlers.warm_up:mxnet",
        zygote_bytes=150 * _MB,
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
        imports=("torch", "torchvision", "torchaudio", "timm"),
        preload=_EXPORTED_PROGRAMS,
        warm_up="polyhost.handlers.warm_up:torch",
        zygote_bytes=260 * _MB,
        base_bytes=16 * _MB,
        uses_gpu=True,
        # The generator itself: torch.seed() writes to 600 memory pages.
        reseed=("torch.random:default_generator.manual_seed",),
        out_of_memory=("can't allocate memory", "not enough memory"),
    ),
    Framework(
        name="onnx",
        package="onnxruntime",
        handler="polyhost.handlers.onnx.handler:OnnxHandler",
        script_defaults="polyhost.handlers.onnx.defaults:OnnxDefaults",
        files=("*.onnx",),
        imports=("onnxruntime",),
        warm_up="polyhost.handlers.warm_up:onnx",
        zygote_bytes=50 * _MB,
        bytes_factor=3.0,  # the file as read, and the weights as computed with
        # onnxruntime 1.32 would start a thread that sends what it does to its maker.
        environment={"ORT_DISABLE_TELEMETRY": "1"},
        native_errors=tuple(
            f"onnxruntime.capi.onnxruntime_pybind11_state:{name}"
            for name in ("EngineError", "EPFail", "Fail", "NotImplemented", "RuntimeException")
        ),
    ),
    Framework(
        name="xgboost",
        handler="polyhost.handlers.xgboost.handler:XgboostHandler",
        script_defaults="polyhost.handlers.xgboost.defaults:XgboostDefaults",
        files=("*.ubj", "xgboost-model"),
        shared_files=("*.json", "*.model"),
        recognizes="polyhost.handlers.xgboost.files:is_model",
        imports=("xgboost",),
        warm_up="polyhost.handlers.warm_up:xgboost",
        zygote_bytes=110 * _MB,
        native_errors=("xgboost.core:XGBoostError",),
    ),
    Framework(
        name="lightgbm",
        handler="polyhost.handlers.lightgbm.handler:LightgbmHandler",
        shared_files=("*.txt", "*.model"),
        recognizes="polyhost.handlers.lightgbm.files:is_model",
        imports=("lightgbm",),
        warm_up="polyhost.handlers.warm_up:lightgbm",
        zygote_bytes=110 * _MB,
        native_errors=("lightgbm.basic:LightGBMError",),
    ),
    Framework(
        name="sklearn",
        handler="polyhost.handlers.sklearn.handler:SklearnHandler",
        script_defaults="polyhost.handlers.sklearn.defaults:SklearnDefaults",
        files=("*.joblib", "*.pkl", "*.p", "*.pickle"),
        imports=("sklearn", "joblib", "pandas", "scipy"),
        # The first prediction looks up plugins of narwhals by importlib.metadata.
        preload=("importlib.metadata", *_ESTIMATORS),
        warm_up="polyhost.handlers.warm_up:sklearn",
        zygote_bytes=120 * _MB,
        bytes_factor=3.0,  # a compressed pickle grows
    ),
)

# Part of every framework's process, so any of them serves a script that imports these; the lightest is meant.
COMMON_IMPORTS = ("numpy", "PIL")
LIGHTEST = "sklearn"

# One thread a worker: the models share the cores, and a fork keeps no pool of threads. MMS's own worker sets this and
# MXNET_USE_OPERATOR_TUNING too (mms/model_service_worker.py).
_COMMON_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    # pandas imports PyArrow if it is there. Its jemalloc would start a thread that gives freed memory back; without
    # one, the thread that frees does so (jemalloc(3), opt.background_thread).
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
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


def package(name: str) -> str:
    """Return the package that a framework needs; one without a row is named as its package is."""
    row = registered().get(name)
    return row.package or name if row else name


def installed(name: str) -> bool:
    """Return whether the framework's package is installed; it is not imported."""
    return importlib.util.find_spec(package(name)) is not None


def zygote_steps() -> dict[str, ZygoteSteps]:
    """Return the steps of each zygote by its name."""
    return {**{name: row.steps for name, row in registered().items()}, BARE: ZygoteSteps(COMMON_STEPS)}


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
