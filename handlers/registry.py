"""Which handler serves a folder, and which framework it wants warm. Standard library only: a fork server asks."""

from __future__ import annotations

import ast
import importlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from polyhost.handlers.errors import BadModelError
from polyhost.handlers.settings import DEFAULT_PROGRAM, Settings

OWN_HANDLER = "polyhost.handlers.service:handle"

HANDLERS = {
    "mxnet": "polyhost.handlers.mxnet_handler:MxnetHandler",
    "torch": "polyhost.handlers.torch_handler:TorchHandler",
    "sklearn": "polyhost.handlers.sklearn_handler:SklearnHandler",
    "script": "polyhost.handlers.script_handler:ScriptHandler",
}

FILES = {
    "mxnet": ("*-symbol.json", "*.params"),
    "torch": ("*.pt", "*.pth", "*.pt2"),
    "sklearn": ("*.joblib", "*.pkl", "*.p", "*.pickle"),
}

# Imports in a model's own code that mean a framework, the heaviest to import first: a script may use two.
IMPORTS = {
    "mxnet": ("mxnet", "gluoncv", "gluonnlp"),
    "torch": ("torch", "torchvision", "torchaudio", "transformers", "timm"),
    "sklearn": ("sklearn", "joblib", "pandas", "scipy", "xgboost", "lightgbm"),
}
# Part of every framework's process, so any of them serves; the lightest is meant.
COMMON_IMPORTS = ("numpy", "PIL")

# What every zygote needs, one without a framework too.
COMMON: tuple[str, ...] = (
    "polyhost.handlers.service",
    "polyhost.handlers.script_handler",
    "PIL.BmpImagePlugin",
    "PIL.GifImagePlugin",
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "PIL.PpmImagePlugin",
)

# Unpickling imports an estimator's module (0.3 s for an ensemble); the first prediction looks up plugins of narwhals.
ESTIMATORS: tuple[str, ...] = (
    "importlib.metadata",
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
EXPORTED_PROGRAMS: tuple[str, ...] = (
    "torch.export._trace",
    "torch._inductor.sizevars",
    "torch.fx.experimental.validator",
    "torch.utils.serialization",
    "sympy.tensor.tensor",
)

# What each zygote does, in order: modules to import, and functions ("module:function") to call after that.
PRELOAD: dict[str, tuple[str, ...]] = {
    "mxnet": (*COMMON, "polyhost.handlers.mxnet_handler", "polyhost.handlers.warm_up:mxnet"),
    "torch": (*COMMON, "polyhost.handlers.torch_handler", *EXPORTED_PROGRAMS, "polyhost.handlers.warm_up:torch"),
    "sklearn": (*COMMON, "polyhost.handlers.sklearn_handler", *ESTIMATORS, "polyhost.handlers.warm_up:sklearn"),
    "bare": COMMON,
}


def choose(directory: Path, settings: Settings) -> str:
    """The name of the handler that serves this folder: the script's where there is one, else by the files."""
    if script_in(directory, settings) is not None:
        return "script"
    return framework_by_files(directory, settings)


def framework_by_files(directory: Path, settings: Settings) -> str:
    fitting = frameworks_in(directory)
    if len(fitting) != 1:
        raise BadModelError(_no_choice(directory, fitting, settings))
    return fitting[0]


def script_in(directory: Path, settings: Settings) -> Path | None:
    names = dict.fromkeys((settings.program, DEFAULT_PROGRAM))
    candidates = (directory / folder / name for name in names for folder in ("code", ""))
    return next((path for path in candidates if path.is_file()), None)


def frameworks_in(directory: Path) -> list[str]:
    return [name for name, patterns in FILES.items() if matching(directory, patterns)]


def matching(directory: Path, patterns: Sequence[str]) -> list[Path]:
    """The files at the folder's root that fit a pattern, without hidden ones, such as macOS leaves in archives."""
    return [path for path in visible(directory) if path.is_file() and any(fnmatch(path.name, p) for p in patterns)]


def visible(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if not path.name.startswith((".", "__")))


def the_one(directory: Path, patterns: Sequence[str]) -> Path:
    """The only file that fits; an archive with two models of one framework needs a script to say which is which."""
    found = matching(directory, patterns)
    if len(found) != 1:
        raise BadModelError(
            f"Expected one file {' or '.join(patterns)} at the archive's root, found {_listed(found)}; "
            f"keep one, or add an {DEFAULT_PROGRAM} with a model_fn."
        )
    return found[0]


def resolve(import_string: str) -> type:
    """The class that "module:Class" names."""
    module, _, name = import_string.partition(":")
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, type)
    return found


def framework_of(model_dir: str, handler: str | None) -> str | None:
    """The zygote to fork for this folder, None for a bare one. Never raises: a broken model fails in its load."""
    try:
        return _framework_of(Path(model_dir), handler or _manifest_handler(Path(model_dir)))
    except Exception:
        return None


def _framework_of(directory: Path, handler: str | None) -> str | None:
    own = handler not in (None, OWN_HANDLER, "handlers.service:handle")
    source = _source_of(handler or "", directory) if own else script_in(directory, Settings.from_environ(os.environ))
    files = frameworks_in(directory)
    by_files = files[0] if len(files) == 1 else None
    if source is None:
        return by_files
    return framework_by_imports(source) or by_files or _lightest_for(source)


def framework_by_imports(source: Path) -> str | None:
    imported = _imports(source)
    return next((name for name, modules in IMPORTS.items() if imported.intersection(modules)), None)


def _lightest_for(source: Path) -> str | None:
    return "sklearn" if _imports(source).intersection(COMMON_IMPORTS) else None


def _imports(source: Path) -> set[str]:
    """The top-level packages that a source file imports, read and not executed."""
    return set(_imported_names(ast.parse(source.read_bytes())))


def _imported_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _source_of(handler: str, directory: Path) -> Path | None:
    """The file behind "file.py:name", "/folder/file.py:name" or "package.module:name"."""
    name = handler.partition(":")[0]
    if name.endswith(".py"):
        candidates: Iterable[Path] = (directory / name, directory / "code" / name)
    else:
        relative = Path(*name.split("."))
        roots = (directory, directory / "code", *map(Path, sys.path))
        candidates = (root / end for root in roots for end in (relative.with_suffix(".py"), relative / "__init__.py"))
    return next((path for path in candidates if path.is_file()), None)


def _manifest_handler(directory: Path) -> str | None:
    manifest = directory / "MAR-INF" / "MANIFEST.json"
    if not manifest.is_file():
        return None
    handler = json.loads(manifest.read_bytes())["model"].get("handler")
    return handler if isinstance(handler, str) else None


def _no_choice(directory: Path, fitting: Sequence[str], settings: Settings) -> str:
    reason = (
        f"Files of {len(fitting)} frameworks fit ({', '.join(fitting)})" if fitting else "Nothing here can be served"
    )
    accepted = "; ".join(f"{name}: {', '.join(patterns)}" for name, patterns in FILES.items())
    return (
        f"{reason}. Found at the archive's root: {_listed(visible(directory))}. "
        f"Accepted: script: {settings.program} at the root or under code/; {accepted}."
    )


def _listed(paths: Iterable[Path]) -> str:
    return ", ".join(path.name + "/" * path.is_dir() for path in paths) or "nothing"
