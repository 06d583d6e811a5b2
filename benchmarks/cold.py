"""How long a model that was never loaded takes to load, and to give its first response."""

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.context import Context, timed_first_response
from benchmarks.models import Kind, Shelf, copies
from benchmarks.servers import STOCK

# The first two as MMS's own worker sets them (mms/model_service_worker.py); the last silences MXNet.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MXNET_USE_OPERATOR_TUNING": "0", "MXNET_SUBGRAPH_VERBOSE": "0"}


def cold(context: Context, kind: Kind) -> dict[str, float]:
    body = context.body(kind)
    with context.fresh_copies(kind, context.effort.samples) as models, context.server.client() as client:
        times = []
        for copy in models:
            times.append(timed_first_response(client, copy, body))
            client.unload(copy)
        return _medians(times)


def limit(python: Path, shelf: Shelf, kind: Kind, samples: int) -> dict[str, float]:
    """Measure the same load and first invocation by the stock handler, in one warm process and without a server."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        models = copies(shelf, kind, Path(folder), samples + 1)
        command: list[str | Path] = [python, STOCK / "limit.py", f"{kind.framework}_handler", shelf.body(kind)]
        finished = subprocess.run(
            [*command, *(copy.folder for copy in models)],
            env={**os.environ, **_ENVIRONMENT}, stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
    return _medians(json.loads(finished.stdout))


def _medians(times: Sequence[tuple[float, float]]) -> dict[str, float]:
    loads, first_responses = zip(*times, strict=True)
    return {"load_ms": median(loads), "first_response_ms": median(first_responses)}
