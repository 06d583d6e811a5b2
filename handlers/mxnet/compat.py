"""What MXNet 1.9.1, its last release, expects of Python and of numpy, and newer ones no longer have.

Python 3.12 has no `distutils` (setuptools, below version 81 at least, brings a copy), numpy 1.24 dropped
`numpy.bool` (apache/mxnet#21165), and numpy 2 the names below. Only what is missing is added, and it is removed again:
MXNet reads these names while it is imported. `numpy.bool` alone stays, for MXNet's own arrays look it up when they are
indexed; numpy 2 has it again.
"""

import importlib.util
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy

_INFINITY = float("inf")
_CONSTANTS = {
    "PZERO": 0.0,
    "NZERO": -0.0,
    "Inf": _INFINITY,
    "Infinity": _INFINITY,
    "PINF": _INFINITY,
    "NINF": -_INFINITY,
    "infty": _INFINITY,
    "NaN": float("nan"),
    "NAN": float("nan"),
}
# The name that is gone, and that of the same thing today.
_RENAMED = {
    "float_": "float64",
    "complex_": "complex128",
    "unicode_": "str_",
    "string_": "bytes_",
    "in1d": "isin",
    "trapz": "trapezoid",
    "row_stack": "vstack",
    "round_": "round",
    "product": "prod",
    "alltrue": "all",
    "sometrue": "any",
}
# They raise in numpy 1.20 already, or have no successor; MXNet only hands them on as mxnet.numpy.NAME.
_REMOVED = ("msort", "mirr", "npv", "pmt", "ppmt", "pv", "rate")


@contextmanager
def import_conditions() -> Iterator[None]:
    """Make `import mxnet` possible in the block, without the warnings about the names that it looks up."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):  # numpy gives the latter before it has no numpy.bool
            warnings.simplefilter("ignore", category)
        if importlib.util.find_spec("distutils") is None:
            importlib.import_module("setuptools")  # makes its copy importable as distutils
        if not hasattr(numpy, "bool"):
            setattr(numpy, "bool", numpy.bool_)  # noqa: B010  (numpy's stubs know the name is gone)
        added = {name: value for name, value in _missing() if not hasattr(numpy, name)}
        for name, value in added.items():
            setattr(numpy, name, value)
        try:
            yield
        finally:
            for name in added:
                delattr(numpy, name)


def _missing() -> Iterator[tuple[str, Any]]:
    yield from _CONSTANTS.items()
    yield from ((name, getattr(numpy, today, None)) for name, today in _RENAMED.items())
    yield from ((name, _removed(name)) for name in _REMOVED)


def _removed(name: str) -> Callable[..., NoReturn]:
    def raise_removed(*arguments: Any, **options: Any) -> NoReturn:
        raise RuntimeError(f"numpy {numpy.__version__} has no {name}, which mxnet.numpy.{name} calls")

    return raise_removed
