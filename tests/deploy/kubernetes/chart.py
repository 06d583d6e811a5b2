"""The Helm chart as a cluster would get it: rendered by Helm's own library, offline."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from tests.support.container import ROOT

CHART = ROOT / "deploy" / "kubernetes"
VALUES = Path(__file__).parent / "values"
RELEASE, NAMESPACE = "models", "prod"
DEFAULTS = {"store": {"url": "s3://models/"}}  # what has to be given

Manifest = dict[str, Any]


class ChartError(Exception):
    """What Helm says of values that it refuses."""


def values_of(name: str) -> dict[str, Any]:
    """Return the values of a file beside this one; of none, for `defaults`."""
    if name == "defaults":
        return DEFAULTS
    return cast(dict[str, Any], yaml.safe_load((VALUES / f"{name}.yaml").read_text()))


def render(values: dict[str, Any]) -> list[Manifest]:
    """Return the objects that Helm makes of the chart. Raises ChartError."""
    texts = _helm("render", values)["manifests"]
    documents = [
        document
        for path, text in texts.items()
        if not path.endswith("NOTES.txt")
        for document in yaml.safe_load_all(text)
    ]
    return [document for document in documents if document is not None]


def notes(values: dict[str, Any]) -> str:
    """Return what Helm prints after an installation."""
    return str(_helm("render", values)["manifests"]["polyhost/templates/NOTES.txt"])


def lint(values: dict[str, Any]) -> dict[str, Any]:
    return cast(dict[str, Any], _helm("lint", values)["lint"])


def package(destination: Path) -> Path:
    return Path(_helm("package", {}, destination=str(destination))["package"])


def only(manifests: list[Manifest], kind: str) -> Manifest:
    """Return the one object of this kind."""
    found = [manifest for manifest in manifests if manifest["kind"] == kind]
    assert len(found) == 1, f"{len(found)} of the kind {kind}"
    return found[0]


def _helm(action: str, values: dict[str, Any], **more: str) -> dict[str, Any]:
    pytest.importorskip("helm_python")
    request = {
        "action": action,
        "chart": str(CHART),
        "values": values,
        "name": RELEASE,
        "namespace": NAMESPACE,
        **more,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.deploy.kubernetes.helm_process"],
        input=json.dumps(request),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    if "error" in answer:
        raise ChartError(answer["error"])
    return answer
