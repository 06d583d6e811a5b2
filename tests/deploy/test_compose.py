"""deploy/compose: a valid Compose file by the specification's schema, and for Docker Compose where it is installed."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_pydantic import ComposeSpecification

from tests.support.compose import docker_compose

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = DEPLOY / "compose"
REPLICAS = ("polyhost-1", "polyhost-2", "polyhost-3")


@pytest.fixture
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    return loaded


def test_the_file_follows_the_specification(document: dict[str, Any]) -> None:
    # The schema's classes know no extensions (x-...), which the specification allows.
    parsed = ComposeSpecification(**{name: part for name, part in document.items() if not name.startswith("x-")})
    assert parsed.services is not None
    assert sorted(parsed.services) == ["envoy", *REPLICAS, "prometheus", "s3", "upload"]


def test_mounted_files_exist(document: dict[str, Any]) -> None:
    mounts = [mount for service in document["services"].values() for mount in service.get("volumes", [])]
    sources = [mount.split(":")[0] for mount in mounts if mount.startswith(".")]
    assert sources
    assert [source for source in sources if not (COMPOSE / source).exists()] == []


def test_envoy_and_prometheus_know_the_replicas(document: dict[str, Any]) -> None:
    (cluster,) = yaml.safe_load((DEPLOY / "envoy" / "replicas.yaml").read_text())["resources"]
    (endpoints,) = cluster["load_assignment"]["endpoints"]
    addresses = [entry["endpoint"]["address"]["socket_address"] for entry in endpoints["lb_endpoints"]]
    assert [address["address"] for address in addresses] == list(REPLICAS)
    polyhost, envoy = yaml.safe_load((COMPOSE / "prometheus.yaml").read_text())["scrape_configs"]
    assert polyhost["static_configs"][0]["targets"] == [f"{name}:8080" for name in REPLICAS]
    assert envoy["static_configs"][0]["targets"][0].split(":")[0] in document["services"]


def test_only_the_loopback_interface_is_open(document: dict[str, Any]) -> None:
    ports = [port for service in document["services"].values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


def test_docker_compose_accepts_the_file() -> None:
    done = subprocess.run(
        [*docker_compose(), "config", "--quiet"], cwd=COMPOSE, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
