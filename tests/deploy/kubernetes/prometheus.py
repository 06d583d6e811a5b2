"""A real Prometheus, as the chart's ServiceMonitor would have it scrape one container."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from polyhost.processes import ServerProcess, free_port
from tests.deploy.kubernetes.chart import NAMESPACE

# What the operator adds to each series of a pod.
LABELS = {"namespace": NAMESPACE, "pod": "models-polyhost-1", "job": "models-polyhost"}
_CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: models-polyhost
    static_configs:
      - targets: ["127.0.0.1:{port}"]
        labels: {labels}
"""


class Prometheus:
    """A client of its API."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False)

    def is_ready(self) -> bool:
        try:
            return self._http.get("/-/ready").is_success
        except httpx.TransportError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an instant query; an expression that Prometheus does not understand fails the test."""
        answer = self._http.post("/api/v1/query", data={"query": expression}).json()
        assert answer["status"] == "success", f"{expression}: {answer}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def close(self) -> None:
        self._http.close()


@contextmanager
def scraping(folder: Path, container_port: int) -> Iterator[Prometheus]:
    """Run Prometheus while the block runs. Skip the test where it is not installed."""
    command = shutil.which("prometheus")
    if command is None:
        pytest.skip("the command 'prometheus' is not on PATH")
    folder.mkdir()
    config = folder / "prometheus.yml"
    config.write_text(_CONFIG.format(port=container_port, labels=json.dumps({**LABELS, "job": "models-polyhost"})))
    port = free_port()
    options = (f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}")
    server = ServerProcess([command, *options, f"--web.listen-address=127.0.0.1:{port}"], folder / "prometheus.log")
    prometheus = Prometheus(f"http://127.0.0.1:{port}")
    try:
        server.wait_until(prometheus.is_ready)
        yield prometheus
    finally:
        prometheus.close()
        server.stop()
