"""The functions of a model's own inference.py: found, checked and made callable in one way.

The names, and that each may take `context` as one argument more, are those of SageMaker's inference toolkit
(sagemaker_inference.transformer).
"""

import ast
import difflib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from polyhost.events import get_logger
from polyhost.handlers.errors import BadScriptError
from polyhost.handlers.script import main_module, stand_ins

Function = Callable[..., Any]

logger = get_logger(__name__)

ARGUMENTS = {
    "model_fn": ("model_dir",),
    "input_fn": ("body", "content_type"),
    "predict_fn": ("data", "model"),
    "output_fn": ("prediction", "accept"),
    "transform_fn": ("model", "body", "content_type", "accept"),
    "pre_model_fn": ("model_dir",),
    "model_warmup_fn": ("model_dir", "model"),
}
STEPS = ("input_fn", "predict_fn", "output_fn")  # what transform_fn replaces
_ALIKE = 0.75  # predict_function and predict_fn: 0.77; load_model and model_fn: 0.44


def defined(path: Path) -> set[str]:
    """Return the functions that a script's source defines at its top level. Raises BadScriptError."""
    return set(_bound_names(_parsed(path))).intersection(ARGUMENTS)


def load(path: Path) -> dict[str, Function]:
    """Import a script, and return those of the functions that it has. Raises BadScriptError."""
    module = _imported(path)
    found = {name: getattr(module, name) for name in ARGUMENTS if hasattr(module, name)}
    if not found:
        _check_is_no_handler(module, path)
    _warn_of_near_misses(module, path, found)
    doubled = [name for name in STEPS if name in found]
    if "transform_fn" in found and doubled:
        raise BadScriptError(f"{path.name} defines transform_fn, which replaces {', '.join(doubled)}: keep one")
    return {name: _with_context(function, name, path) for name, function in found.items()}


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), path.name)
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise BadScriptError(f"{path.name}, line {error.lineno}: {error.msg}: {line!r}") from error
    except ValueError as error:
        raise BadScriptError(f"{path.name} is not Python source: {error}") from error


def _bound_names(tree: ast.Module) -> Iterator[str]:
    """Return the names that a module's source binds at its top level."""
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name):
                yield name
            case ast.ImportFrom(names=aliases):
                yield from (alias.asname or alias.name for alias in aliases)
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))


def _imported(path: Path) -> ModuleType:
    """Import the script as the module that its file is named for: pickles may refer to its classes."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    stand_ins.install()
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    main_module.stand_in().add(module)
    try:
        spec.loader.exec_module(module)
    except stand_ins.NotOfferedError as error:
        raise BadScriptError(f"{path.name}: {error}") from error
    except ModuleNotFoundError as error:
        raise BadScriptError(
            f"{path.name} needs the module {error.name!r}, which is neither in this image nor in the archive, "
            f"at its root or under code/{stand_ins.remedy(error.name)}"
        ) from error
    return module


def _check_is_no_handler(module: ModuleType, path: Path) -> None:
    """Refuse a handler in the script's place: its author means it to serve, and the defaults would in its stead."""
    if callable(getattr(module, "handle", None)):
        raise BadScriptError(
            f"{path.name} defines none of {', '.join(ARGUMENTS)}, but handle(), as a handler has: to serve by it, name "
            f'it in MAR-INF/MANIFEST.json: {{"model": {{"handler": "{path.name}:handle"}}}}'
        )


def _warn_of_near_misses(module: ModuleType, path: Path, found: dict[str, Any]) -> None:
    missing = [name for name in ARGUMENTS if name not in found]
    for name, value in vars(module).items():
        if not inspect.isfunction(value) or value.__module__ != module.__name__ or name in ARGUMENTS:
            continue
        if alike := difflib.get_close_matches(name, missing, n=1, cutoff=_ALIKE):
            logger.warning("%s: %s() is never called; is %s meant?", path.name, name, alike[0])


def _with_context(function: Any, name: str, path: Path) -> Function:
    """Wrap the function in one that takes the context last, whether the function does or not."""
    expected = ARGUMENTS[name]
    if not callable(function):
        raise BadScriptError(f"{path.name}: {name} is a {type(function).__name__}, not a function")
    if _is_async(function):
        raise BadScriptError(f"{path.name}: {name} is async; define it with def, and call asyncio.run() in it")
    found: Function = function
    signature = inspect.signature(found)
    if _takes_context(signature, len(expected)):
        return found
    if _takes(signature, len(expected)):
        return lambda *arguments: found(*arguments[:-1])
    raise BadScriptError(
        f"{path.name}: {name}{signature} cannot be called; define {name}({', '.join(expected)}) "
        f"or {name}({', '.join(expected)}, context)"
    )


def _is_async(function: Any) -> bool:
    kinds = (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
    return any(is_one(each) for is_one in kinds for each in (function, type(function).__call__))


def _takes_context(signature: inspect.Signature, count: int) -> bool:
    """Return whether there is one argument more; one with a default is the script's own unless it is named context."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    positional = [parameter for parameter in signature.parameters.values() if parameter.kind in kinds]
    if len(positional) <= count or not _takes(signature, count + 1):
        return False
    extra = positional[count]
    return extra.name == "context" or extra.default is inspect.Parameter.empty


def _takes(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True
