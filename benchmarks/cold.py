"""How long a model that was never loaded takes to load, and to answer for the first time."""

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.bench import Bench, timed_first_answer
from benchmarks.models import Kind, Shelf, copies
from benchmarks.servers import STOCK

# The first two as MMS's own worker sets them (mms/model_service_worker.py); the last keeps MXNet from talking.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MXNET_USE_OPERATOR_TUNING": "0", "MXNET_SUBGRAPH_VERBOSE": "0"}


def cold(bench: Bench, kind: Kind) -> dict[str, float]:
    body = bench.body(kind)
    with bench.fresh(kind, bench.effort.samples) as models, bench.server.api() as api:
        times = []
        for copy in models:
            times.append(timed_first_answer(api, copy, body))
            api.unload(copy)
        return _medians(times)


def limit(python: Path, shelf: Shelf, kind: Kind, samples: int) -> dict[str, float]:
    """The same load and first call by the stock handler, in one warm process and without a server."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        models = copies(shelf, kind, Path(folder), samples + 1)
        command: list[str | Path] = [python, STOCK / "limit.py", f"{kind.framework}_handler", shelf.body(kind)]
        finished = subprocess.run(
            [*command, *(copy.folder for copy in models)],
            env={**os.environ, **_ENVIRONMENT}, stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
    return _medians(json.loads(finished.stdout))


def _medians(times: Sequence[tuple[float, float]]) -> dict[str, float]:
    loads, first_answers = zip(*times, strict=True)
    return {"load_ms": median(loads), "first_answer_ms": median(first_answers)}
