"""Helm, in a process of its own: a request as JSON on stdin, the answer as JSON on stdout.

Its library is written in Go, whose threads and signal handlers are not to be in a process that other tests fork.
"""

import json
import sys
from typing import Any

import helm_python as helm


def answer(request: dict[str, Any]) -> dict[str, Any]:
    chart_dir, values = request["chart"], request["values"]
    try:
        if request["action"] == "lint":
            return {"lint": helm.lint(chart_dir, values, strict=True)}
        if request["action"] == "package":
            return {"package": helm.package(chart_dir, destination=request["destination"])}
        with helm.Chart.load(chart_dir) as chart:
            return {"manifests": chart.render(values, name=request["name"], namespace=request["namespace"])}
    except helm.HelmError as error:
        return {"error": str(error)}


if __name__ == "__main__":
    json.dump(answer(json.load(sys.stdin)), sys.stdout)
