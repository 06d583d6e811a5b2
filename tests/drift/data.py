"""Captured invocations and baselines for tests."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from polyhost.drift.data_quality import Baseline
from polyhost.drift.monitor import suggest_baseline


def part(mode: str, data: str, encoding: str, content_type: str) -> dict[str, str]:
    return {"observedContentType": content_type, "mode": mode, "data": data, "encoding": encoding}


def line(
    request: str, response: str | None = None, encoding: str = "CSV", content_type: str = "text/csv", **metadata: Any
) -> bytes:
    """Return a line of data capture; the response has the request's encoding."""
    data = {"endpointInput": part("INPUT", request, encoding, content_type)}
    if response is not None:
        data["endpointOutput"] = part("OUTPUT", response, encoding, content_type)
    known = {"eventId": "e", "inferenceTime": "2026-01-05T13:00:00Z"} | metadata
    return json.dumps({"captureData": data, "eventMetadata": known, "eventVersion": "0"}).encode() + b"\n"


def csv_rows(values: Any) -> str:
    return "\n".join(",".join(f"{cell:.6g}" for cell in row) for row in values)


def write_baseline(folder: Path, header: str, values: Any) -> Path:
    path = folder / "train.csv"
    path.write_text(f"{header}\n{csv_rows(values)}\n")
    return path


def normal(seed: int, count: int, mean: float = 0.0) -> Any:
    """Return two columns: one around `mean`, one around zero."""
    drawn = np.random.default_rng(seed).normal(size=(count, 2))
    drawn[:, 0] += mean
    return drawn


def baseline_of(folder: Path, count: int = 500) -> Baseline:
    return suggest_baseline(write_baseline(folder, "moves,stays", normal(1, count)))
