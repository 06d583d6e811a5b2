"""Sessions of onnxruntime: opened with one thread, called, and what their errors mean.

`ORT_DISABLE_TELEMETRY` is in the framework's row: without it onnxruntime 1.32 starts a thread that sends what it does
to its maker, and a zygote must have one thread.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native

from polyhost.handlers.errors import BadBodyError, BadModelError

_LOG_FATAL_ONLY = 4  # what else goes wrong is raised
# "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : ", a place in its sources, and what runs before each reason.
_PREFIX = re.compile(
    r"^\[ONNXRuntimeError\] : \d+ : \w+ : |^Load model from .* failed:|/onnxruntime_src/\S+:\d+ .*?\) (?=[A-Z])",
    re.DOTALL,
)
_WRONG_INPUT = re.compile(r"\b(shapes?|dimensions?|sizes?|rank|axis|indices|bounds|broadcast)\b", re.IGNORECASE)
_ERRORS = (native.Fail, native.RuntimeException, native.EPFail, native.EngineError, native.NotImplemented)


def opened(path: Path) -> Any:
    """Open a model. Raises BadModelError, which names the file and what is wrong with it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _LOG_FATAL_ONLY
    options.enable_cpu_mem_arena = False  # it keeps what the largest request took, for each of hundreds of models
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (*_ERRORS, native.InvalidProtobuf, native.InvalidGraph, native.InvalidArgument, native.NoModel) as error:
        raise BadModelError(
            f"{path.name} cannot be loaded by onnxruntime {onnxruntime.__version__}: {_reason(error)}"
        ) from error


def run(session: Any, outputs: Sequence[str], features: Mapping[str, Any]) -> list[Any]:
    """Call the model. Raises BadBodyError for what it cannot take."""
    try:
        return session.run(list(outputs), dict(features))  # type: ignore[no-any-return]
    except native.InvalidArgument as error:
        raise _rejection(error, features) from error
    except _ERRORS as error:
        if "alloc" not in str(error) and _WRONG_INPUT.search(str(error)):
            raise _rejection(error, features) from error
        raise


def _rejection(error: Exception, features: Mapping[str, Any]) -> BadBodyError:
    given = ", ".join(f"{name!r}: {_kind(array)}{list(array.shape)}" for name, array in features.items())
    return BadBodyError(f"the model cannot take the input {given}: {_reason(error)}")


def _kind(array: Any) -> str:
    return "text" if array.dtype == numpy.dtype(object) else str(array.dtype)


def _reason(error: Exception) -> str:
    text = str(error)
    while (shorter := _PREFIX.sub("", text)) != text:
        text = shorter
    return text.replace("\n", " ").strip()
