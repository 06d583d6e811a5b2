"""Boosted trees and a small network of ONNX beside the stock stack: time, and the processor time of the servers.

python -m benchmarks.boosting --stock build/stock-venv/bin/python. `scripts/stock-venv` makes that environment.
Processor time says more than time does where the machine has other work.
"""

import argparse
import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.cold import cold
from benchmarks.context import Context, timed_first_response
from benchmarks.effort import FULL, QUICK, Effort
from benchmarks.hot import hot
from benchmarks.machine import Machine
from benchmarks.models import Kind, Shelf, digit
from benchmarks.rows import beside_stock
from benchmarks.servers import ROOT, BenchServer, Stack, running

_ROUNDS = 100  # of trees
_REQUESTS = 500


def _xgboost(folder: Path) -> None:
    xgboost = importlib.import_module("xgboost")
    rows, targets = _digits()
    params = {"objective": "multi:softprob", "num_class": 10, "max_depth": 4, "nthread": 1}
    xgboost.train(params, xgboost.DMatrix(rows, targets), _ROUNDS).save_model(folder / "model.ubj")


def _lightgbm(folder: Path) -> None:
    lightgbm = importlib.import_module("lightgbm")
    params = {"objective": "multiclass", "num_class": 10, "max_depth": 4, "num_threads": 1, "verbosity": -1}
    lightgbm.train(params, lightgbm.Dataset(*_digits()), _ROUNDS).save_model(folder / "model.txt")


def _onnx(folder: Path) -> None:
    """Make a network of two layers with random weights."""
    import numpy

    onnx = importlib.import_module("onnx")
    helper, chosen = onnx.helper, numpy.random.default_rng(0)
    weights = [chosen.standard_normal(shape).astype(numpy.float32) for shape in ((64, 128), (128, 10))]
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["data", "first"], ["hidden"]),
            helper.make_node("Relu", ["hidden"], ["active"]),
            helper.make_node("MatMul", ["active", "last"], ["scores"]),
        ],
        "network",
        [helper.make_tensor_value_info("data", onnx.TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["n", 10])],
        [onnx.numpy_helper.from_array(array, name) for array, name in zip(weights, ("first", "last"), strict=True)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (folder / "model.onnx").write_bytes(made.SerializeToString())


def _digits() -> Any:
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


KINDS = tuple(
    Kind(name, name, "application/json", make, digit)
    for name, make in (("xgboost", _xgboost), ("lightgbm", _lightgbm), ("onnx", _onnx))
)


def processor_time(context: Context, kind: Kind) -> dict[str, float]:
    """Measure what the server's processes compute for a cold load with its first response, and for a request."""
    body, samples = context.body(kind), context.effort.samples
    with context.fresh_copies(kind, samples + 1) as models, context.server.client() as client:
        timed_first_response(client, models[0], body)
        start = _computed_ms(context.server)
        for model in models[1:]:
            timed_first_response(client, model, body)
        loaded = _computed_ms(context.server)
        for _ in range(_REQUESTS):
            client.invoke(models[0], body)
        answered = _computed_ms(context.server)
        for model in models:
            client.unload(model)
    return {"cold_ms": (loaded - start) / samples, "request_ms": (answered - loaded) / _REQUESTS}


def _computed_ms(server: BenchServer) -> float:
    """Return the processor time of all threads, by the scheduler: a process's own figure comes in steps of 10 ms."""
    nanoseconds = 0
    for pid in server.process.processes():
        for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with suppress(OSError):  # it has ended
                nanoseconds += int(path.read_text().split()[0])
    return nanoseconds / 1e6


def _measure(stack: Stack, kind: Kind, shelf: Shelf, effort: Effort) -> Iterator[tuple[str, dict[str, float]]]:
    with running(stack) as server:
        context = Context(server, shelf, effort)
        yield "cold", cold(context, kind)
        yield "computed", processor_time(context, kind)
        yield "hot", hot(context, kind)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.boosting", description=__doc__)
    parser.add_argument("--stock", type=Path, required=True, help="the Python of the stock stack's environment")
    parser.add_argument("--quick", action="store_true", help="few samples, short runs: to try, not to publish")
    given = parser.parse_args(arguments)
    shelf = Shelf(ROOT / "build" / "bench-models")
    shelf.fill(iter(KINDS))
    print(Machine.current())
    return beside_stock(given.stock.absolute(), shelf, KINDS, QUICK if given.quick else FULL, _measure)


if __name__ == "__main__":
    sys.exit(main())
