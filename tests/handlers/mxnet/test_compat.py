"""MXNet 1.9.1 is importable with every numpy and Python, and leaves no trace in numpy."""

import subprocess
import sys
from typing import Any

import numpy
import pytest

from polyhost.handlers.mxnet import compat as mxnet_compat


def attributes(*names: str) -> list[Any]:
    return [getattr(numpy, name) for name in names]


def test_missing_names_exist_in_the_block_only() -> None:
    before = dict(vars(numpy))
    with mxnet_compat.import_conditions():
        pzero, infty, npv = attributes("PZERO", "infty", "npv")
    assert (pzero, infty, callable(npv)) == (0.0, float("inf"), True)
    added = vars(numpy).keys() - before.keys()
    assert added <= {"bool"}
    assert {name: vars(numpy)[name] for name in before} == before


def test_missing_function_says_so_when_it_is_called() -> None:
    with mxnet_compat.import_conditions():
        (mirr,) = attributes("mirr")
    with pytest.raises(RuntimeError, match="mirr"):
        mirr([1, 2])


def test_import_has_no_warnings() -> None:
    pytest.importorskip("polyhost.handlers.mxnet.handler")
    code = "import polyhost.handlers.mxnet.handler as handler; print(handler.mxnet.np.array([1, 2]).sum())"
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (result.stdout.strip(), result.stderr) == ("3.0", "")
