"""What a script's model consists of, and which framework it belongs to. No framework is imported."""

import functools
import types
from collections import deque
from collections.abc import Iterator
from typing import Any

from polyhost.handlers import frameworks

_NO_MODELS = ("pandas", "scipy", "joblib")  # their objects are data of whatever framework
_ESTIMATORS = "sklearn"
_MOST = 1000  # a vocabulary says no more by its last word than by its first
_LEAVES = (str, bytes, int, float, complex, type(None), type, types.ModuleType)


def parts(model: Any) -> Iterator[Any]:
    """Return the model and what it holds, nearest first: items, attributes, and what a function is bound to.

    An object of a framework's own, such as a network, is not looked into: it is what is looked for.
    """
    waiting, seen = deque([model]), set[int]()
    while waiting and len(seen) < _MOST:
        part = waiting.popleft()
        if isinstance(part, _LEAVES) or id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        if own_framework(type(part)) is None:
            waiting.extend(_held(part))


def framework_of(model: Any) -> str | None:
    """Return the name of the framework that the model or its parts belong to, None without one."""
    found = {name for part in parts(model) if (name := own_framework(type(part)))}
    return next((name for name in frameworks.registered() if name in found), None)


def own_framework(kind: type[Any]) -> str | None:
    """Return the framework of the nearest of a class's bases that belongs to one.

    An estimator of scikit-learn's kind is one wherever it is defined, such as in xgboost.
    """
    roots = [base.__module__.partition(".")[0] for base in kind.__mro__ if isinstance(base.__module__, str)]
    if _ESTIMATORS in roots:
        return _ESTIMATORS
    return next((name for root in roots if (name := _frameworks_by_package().get(root))), None)


@functools.cache
def _frameworks_by_package() -> dict[str, str]:
    packages = {package: row.name for row in frameworks.registered().values() for package in row.imports}
    return {package: name for package, name in packages.items() if package not in _NO_MODELS}


def _held(value: Any) -> list[Any]:
    held: list[Any] = []
    match value:
        case dict():
            held += value.values()
        case list() | tuple() | set() | frozenset():
            held += value
        case types.MethodType():
            held.append(value.__self__)
        case functools.partial():
            held += (value.func, *value.args, *value.keywords.values())
        case types.FunctionType():
            held += (cell.cell_contents for cell in value.__closure__ or () if _is_set(cell))
    return [*held[:_MOST], *getattr(value, "__dict__", {}).values()]


def _is_set(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018  (raises if its variable was deleted)
    except ValueError:
        return False
    return True
