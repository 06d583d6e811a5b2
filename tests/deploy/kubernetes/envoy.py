"""A real Envoy in front of replicas, set up as Envoy Gateway does it by the chart's BackendTrafficPolicy."""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from polyhost.processes import ServerProcess, free_port
from tests.deploy.kubernetes.chart import only, render, values_of

_EXTENSIONS = "type.googleapis.com/envoy.extensions"


class Envoy:
    """Its addresses, and what it thinks of its replicas."""

    def __init__(self, port: int, admin_port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._admin = f"http://127.0.0.1:{admin_port}"

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self._admin}/ready", timeout=60, trust_env=False).is_success
        except httpx.TransportError:
            return False

    def healthy(self, port: int) -> bool:
        """Return whether it sends requests to the replica on this port."""
        text = httpx.get(f"{self._admin}/clusters", timeout=60, trust_env=False).text
        return f"replicas::127.0.0.1:{port}::health_flags::healthy\n" in text


def envoy_command() -> str:
    """Return the program. Skip the test where it is not installed."""
    command = shutil.which("envoy", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if command is None:
        pytest.skip("the command 'envoy' is not on PATH")
    return command


@contextmanager
def envoy(command: str, folder: Path, replicas: Sequence[int]) -> Iterator[Envoy]:
    """Run Envoy while the block runs."""
    port, admin_port = free_port(), free_port()
    config = folder / "envoy.json"
    config.write_text(json.dumps(_config(port, admin_port, replicas)))
    options = ("--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning")
    server = ServerProcess([command, "-c", config, *options], folder / "envoy.log")
    proxy = Envoy(port, admin_port)
    try:
        server.wait_until(proxy.is_ready)
        yield proxy
    finally:
        server.stop()


def _config(port: int, admin_port: int, replicas: Sequence[int]) -> dict[str, Any]:
    policy = only(render(values_of("folder")), "BackendTrafficPolicy")["spec"]
    return {
        "admin": {"address": _address(admin_port)},
        "static_resources": {"listeners": [_listener(port, policy)], "clusters": [_cluster(policy, replicas)]},
    }


def _listener(port: int, policy: dict[str, Any]) -> dict[str, Any]:
    route = {
        "cluster": "replicas",
        "timeout": "0s",
        "hash_policy": [
            {"header": {"header_name": header["name"]}}
            for header in policy["loadBalancer"]["consistentHash"]["headers"]
        ],
        "retry_policy": {
            "retry_on": ",".join(policy["retry"]["retryOn"]["triggers"]),
            "num_retries": policy["retry"]["numRetries"],
            "retry_host_predicate": [
                _typed(
                    "envoy.retry_host_predicates.previous_hosts", "retry.host.previous_hosts.v3.PreviousHostsPredicate"
                )
            ],
        },
    }
    virtual_host = {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}
    manager = _typed(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="http",
        route_config={"virtual_hosts": [virtual_host]},
        http_filters=[_typed("envoy.filters.http.router", "filters.http.router.v3.Router")],
    )
    return {"address": _address(port), "filter_chains": [{"filters": [manager]}]}


def _cluster(policy: dict[str, Any], replicas: Sequence[int]) -> dict[str, Any]:
    check = policy["healthCheck"]["active"]
    endpoints = [{"endpoint": {"address": _address(port)}} for port in replicas]
    maglev = _typed("envoy.load_balancing_policies.maglev", "load_balancing_policies.maglev.v3.Maglev")
    return {
        "name": "replicas",
        "type": "STATIC",
        "connect_timeout": "10s",  # longer than the chart's: other tests run on this machine
        "load_assignment": {"cluster_name": "replicas", "endpoints": [{"lb_endpoints": endpoints}]},
        "load_balancing_policy": {"policies": [{"typed_extension_config": maglev}]},
        "health_checks": [
            {
                "interval": check["interval"],
                "timeout": "60s",
                "no_traffic_interval": check["interval"],
                "unhealthy_threshold": check["unhealthyThreshold"],
                "healthy_threshold": check["healthyThreshold"],
                "http_health_check": {"path": check["http"]["path"]},
            }
        ],
    }


def _typed(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"{_EXTENSIONS}.{kind}", **more}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
