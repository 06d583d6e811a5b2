"""A monitoring job in a process of its own: python -m polyhost.drift.job FOLDER.

The folder has `job.json` with the settings, and `captures`, `baseline` and `ground-truth`, or `dataset`; `output` gets
Model Monitor's files and `result.json`. A failure is one sentence on stderr, and exit status 1.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polyhost.drift.errors import DriftError

RESULT = "result.json"
NO_DATA = "Job inputs had no data"  # AWS's words


def run(folder: Path) -> None:
    """Do what job.json says. Raises DriftError, and ModuleNotFoundError without the extra `drift`."""
    settings = json.loads((folder / "job.json").read_text())
    output = folder / "output"
    output.mkdir(exist_ok=True)
    result = _WORK[settings["kind"]](folder, settings)
    for name, content in result.items():
        (output / name).write_text(json.dumps(content, indent=2))


def _baseline(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    from polyhost.drift.monitor import CONSTRAINTS, STATISTICS, suggest_baseline

    (dataset,) = sorted((folder / "dataset").iterdir())
    baseline = suggest_baseline(dataset, settings["header"])
    return {STATISTICS: baseline.statistics, CONSTRAINTS: baseline.constraints, RESULT: {"violations": 0}}


def _data_quality(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    from polyhost.drift.captures import Attributes
    from polyhost.drift.monitor import (
        CONSTRAINTS,
        STATISTICS,
        VIOLATIONS,
        data_quality,
        read_baseline,
        read_captures,
    )

    attributes = Attributes(settings.get("features"), settings.get("inference"))
    baseline = read_baseline(folder / "baseline")
    calls = read_captures(folder / "captures", attributes)
    chosen = [call for call in calls if settings["start"] <= call.at < settings["end"]]
    if not chosen:
        raise DriftError(NO_DATA)
    found = data_quality(chosen, baseline)
    emits = baseline.config.get("emit_metrics", "Enabled") == "Enabled"
    summary = {"violations": len(found.violations), "metrics": _metrics(found) if emits else []}
    return {
        STATISTICS: found.statistics,
        CONSTRAINTS: baseline.constraints,
        VIOLATIONS: found.violations_file(),
        RESULT: summary,
    }


def _metrics(found: Any) -> list[dict[str, Any]]:
    """Return the metrics of each feature (developer guide, model-monitor-interpreting-cloudwatch)."""
    metrics: list[dict[str, Any]] = []
    for column in found.columns:
        metrics.append({"MetricName": f"feature_non_null_{column.name}", "Value": float(column.present)})
        if (distance := found.distances.get(column.name)) is not None:
            metrics.append({"MetricName": f"feature_baseline_drift_{column.name}", "Value": distance.value})
        if len(column.numbers):
            statistics = {
                "SampleCount": float(len(column.numbers)),
                "Sum": float(column.numbers.sum()),
                "Minimum": float(column.numbers[0]),
                "Maximum": float(column.numbers[-1]),
            }
            metrics.append({"MetricName": f"feature_data_{column.name}", "StatisticValues": statistics})
    return metrics


def _model_baseline(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    from polyhost.drift.model_quality import constraints_of_quality, quality_of, read_pairs, statistics_of_quality
    from polyhost.drift.monitor import CONSTRAINTS, STATISTICS

    problem = _problem(settings["problem_type"])
    (dataset,) = sorted((folder / "dataset").iterdir())
    pairs = read_pairs(dataset, settings["inference_attribute"], settings["ground_truth_attribute"])
    quality = quality_of(pairs, problem)
    return {
        STATISTICS: statistics_of_quality(quality, problem, len(pairs)),
        CONSTRAINTS: constraints_of_quality(quality, problem),
        RESULT: {"violations": 0},
    }


def _model_quality(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    from polyhost.drift.captures import Attributes
    from polyhost.drift.model_quality import (
        pairs_of,
        quality_of,
        quality_violations,
        read_ground_truth,
        statistics_of_quality,
    )
    from polyhost.drift.monitor import CONSTRAINTS, STATISTICS, VIOLATIONS, read_captures, read_json

    problem, constraints = _problem(settings["problem"]), read_json(folder / "baseline" / CONSTRAINTS)
    truth: dict[str, list[str]] = {}
    for file in sorted((folder / "ground-truth").iterdir()):
        truth |= dict(read_ground_truth(file.read_bytes().splitlines(), file.name))
    calls = read_captures(folder / "captures", Attributes(settings.get("features"), settings.get("inference")))
    pairs = pairs_of((call for call in calls if settings["start"] <= call.at < settings["end"]), truth)
    if not pairs:
        raise DriftError(NO_DATA)
    quality = quality_of(pairs, problem)
    violations = quality_violations(quality, constraints, problem)
    numbers = {name: value for name, value in quality.items() if isinstance(value, float)}
    return {
        STATISTICS: statistics_of_quality(quality, problem, len(pairs)),
        CONSTRAINTS: constraints,
        VIOLATIONS: {"violations": violations},
        RESULT: {
            "violations": len(violations),
            "metrics": [{"MetricName": name, "Value": value} for name, value in numbers.items()],
        },
    }


def _problem(name: str) -> Any:
    from polyhost.drift.model_quality import ProblemType

    try:
        return ProblemType(name)
    except ValueError:
        raise DriftError(f"{name} is not a problem type; use {', '.join(ProblemType)}") from None


_WORK = {
    "data-baseline": _baseline,
    "model-baseline": _model_baseline,
    "DataQuality": _data_quality,
    "ModelQuality": _model_quality,
}


def main() -> int:
    try:
        run(Path(sys.argv[1]))
    except DriftError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except ModuleNotFoundError as error:
        sys.stderr.write(f"{error.name} is not installed; install polyhost[drift] where the emulator runs\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
