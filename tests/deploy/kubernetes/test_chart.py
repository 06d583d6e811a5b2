"""The chart: Helm's lint, and each object that it makes against the schemas of two versions of Kubernetes, strictly."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
import yaml
from jsonschema import Draft202012Validator

import polyhost
from tests.deploy.kubernetes.chart import (
    CHART,
    DEFAULTS,
    NAMESPACE,
    VALUES,
    Manifest,
    lint,
    notes,
    only,
    package,
    render,
    values_of,
)
from tests.deploy.kubernetes.crd_schemas import SCHEMAS

# The oldest that Chart.yaml allows, and the newest that the package knows.
KUBERNETES = ("1.30", "1.37")
FILES = ("defaults", *sorted(path.stem for path in VALUES.glob("*.yaml")))


@pytest.fixture(scope="module", params=FILES)
def file(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def manifests(file: str) -> list[Manifest]:
    return render(values_of(file))


def test_lint_finds_nothing(file: str) -> None:
    report = lint(values_of(file))
    texts = [message["error"] for message in report["messages"]]
    assert (texts, report["errors"]) == (["icon is recommended"], [])


@pytest.mark.parametrize("version", KUBERNETES)
def test_each_object_is_valid(manifests: list[Manifest], version: str) -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    for manifest in manifests:
        if manifest["kind"] in SCHEMAS:
            Draft202012Validator(SCHEMAS[manifest["kind"]]).validate(manifest)
        else:
            validate(manifest, version, strict=True)


def test_objects_refer_to_one_another(manifests: list[Manifest]) -> None:
    """Selectors find the pods, ports are named as the pods name them, and each reference has its object."""
    kinds = {manifest["kind"]: manifest for manifest in manifests}
    names = {kind: manifest["metadata"]["name"] for kind, manifest in kinds.items()}
    pod = kinds["Deployment"]["spec"]["template"]
    selectors = [kinds["Deployment"]["spec"]["selector"]["matchLabels"], kinds["Service"]["spec"]["selector"]]
    selectors += [kinds[kind]["spec"]["selector"]["matchLabels"] for kind in ("PodDisruptionBudget",) if kind in kinds]
    if "NetworkPolicy" in kinds:
        selectors.append(kinds["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"])
    assert all(selector.items() <= pod["metadata"]["labels"].items() for selector in selectors)
    (port,) = pod["spec"]["containers"][0]["ports"]
    (service_port,) = kinds["Service"]["spec"]["ports"]
    assert service_port["targetPort"] == port["name"]
    if "ServiceMonitor" in kinds:
        monitor = kinds["ServiceMonitor"]["spec"]
        assert monitor["selector"]["matchLabels"].items() <= kinds["Service"]["metadata"]["labels"].items()
        assert monitor["endpoints"][0]["port"] == service_port["name"]
    if "HTTPRoute" in kinds:
        (rule,) = kinds["HTTPRoute"]["spec"]["rules"]
        assert rule["backendRefs"] == [{"name": names["Service"], "port": service_port["port"]}]
        assert kinds["BackendTrafficPolicy"]["spec"]["targetRefs"][0]["name"] == names["HTTPRoute"]
    if "HorizontalPodAutoscaler" in kinds:
        assert kinds["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == names["Deployment"]
        assert "replicas" not in kinds["Deployment"]["spec"]


def test_what_each_values_file_makes() -> None:
    made = {file: {manifest["kind"] for manifest in render(values_of(file))} for file in FILES}
    plain = {"Deployment", "Service", "ServiceAccount", "PodDisruptionBudget"}
    assert made["defaults"] == made["s3"] == plain
    assert made["nothing"] == {"Deployment", "Service", "NetworkPolicy"}
    assert made["folder"] == {*plain, "HTTPRoute", "BackendTrafficPolicy", "EnvoyPatchPolicy"}
    others = {
        "NetworkPolicy",
        "HorizontalPodAutoscaler",
        "ServiceMonitor",
        "ConfigMap",
        "Gateway",
        "ClientTrafficPolicy",
    }
    assert made["everything"] == {*made["folder"], *others}


def test_models_are_spread_by_the_header() -> None:
    policy = only(render(values_of("folder")), "BackendTrafficPolicy")["spec"]["loadBalancer"]
    assert policy["consistentHash"]["headers"] == [{"name": "X-Amzn-SageMaker-Target-Model"}]


def test_the_patch_completes_what_envoy_gateway_makes(tmp_path: Path) -> None:
    """Applied to a cluster as Envoy Gateway 1.9 writes it, and shown to a real Envoy where there is one."""
    patch = only(render(values_of("folder")), "EnvoyPatchPolicy")
    assert (patch["metadata"]["namespace"], patch["spec"]["targetRef"]["name"]) == ("gateways", "public")
    patches = patch["spec"]["jsonPatches"]
    (name,) = {one["name"] for one in patches}
    assert name == f"httproute/{NAMESPACE}/models-polyhost/rule/0"
    maglev = "type.googleapis.com/envoy.extensions.load_balancing_policies.maglev.v3.Maglev"
    extension = {"name": "envoy.load_balancing_policies.maglev", "typed_config": {"@type": maglev}}
    check = {
        "timeout": "10s",
        "interval": "2s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "http_health_check": {"path": "/ready"},
    }
    cluster = {
        "name": name,
        "connect_timeout": "10s",
        "type": "STATIC",
        "common_lb_config": {"healthy_panic_threshold": {}},
        "health_checks": [check],
        "load_balancing_policy": {"policies": [{"typed_extension_config": extension}]},
    }
    patched = jsonpatch.apply_patch(cluster, [one["operation"] for one in patches])
    found = patched["load_balancing_policy"]["policies"][0]["typed_extension_config"]["typed_config"]
    assert found == {"@type": maglev, "consistent_hashing_lb_config": {"hash_balance_factor": 200}}
    assert patched["common_lb_config"] == {"healthy_panic_threshold": {}, "update_merge_window": "0s"}
    assert patched["health_checks"] == [check | {"no_traffic_interval": "2s"}]
    if (
        envoy := shutil.which("envoy", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    ) is not None:
        config = tmp_path / "envoy.json"
        config.write_text(json.dumps({"static_resources": {"clusters": [patched]}}))
        done = subprocess.run([envoy, "--mode", "validate", "-c", config], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr


def test_clients_cannot_have_a_call_repeated() -> None:
    policy = only(render(values_of("everything")), "ClientTrafficPolicy")["spec"]
    assert {"x-envoy-retry-on", "x-envoy-max-retries"} <= set(policy["headers"]["earlyRequestHeaders"]["remove"])
    triggers = only(render(values_of("everything")), "BackendTrafficPolicy")["spec"]["retry"]["retryOn"]["triggers"]
    assert triggers == ["connect-failure", "refused-stream", "reset-before-request"]


def test_a_policy_without_peers_lets_nobody_in() -> None:
    policy = only(render(values_of("nothing")), "NetworkPolicy")["spec"]
    assert policy["ingress"] == []
    blocks = [peer["ipBlock"] for rule in policy["egress"] for peer in rule.get("to", ())]
    assert "169.254.0.0/16" in blocks[0]["except"]


def test_the_policy_lets_envoy_and_prometheus_in() -> None:
    (rule,) = only(render(values_of("everything")), "NetworkPolicy")["spec"]["ingress"]
    namespaces = [
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for peer in rule["from"]
        if "namespaceSelector" in peer
    ]
    assert namespaces == ["envoy-gateway-system", "monitoring"] and len(rule["from"]) == 3


def test_the_autoscaler_has_the_metric_of_the_adapters_rule() -> None:
    metrics = only(render(values_of("everything")), "HorizontalPodAutoscaler")["spec"]["metrics"]
    pods = metrics[1]["pods"]
    assert pods["target"]["averageValue"] == "50m"  # of 5 %
    (rule,) = yaml.safe_load((CHART / "files" / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    assert pods["metric"]["name"] == rule["name"]["as"]


def test_prometheus_sends_the_token_that_metrics_ask_for() -> None:
    manifests = render(values_of("everything"))
    (endpoint,) = only(manifests, "ServiceMonitor")["spec"]["endpoints"]
    variables = only(manifests, "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
    (token,) = [variable for variable in variables if variable["name"] == "POLYHOST_BEARER_TOKEN"]
    assert endpoint["authorization"]["credentials"] == token["valueFrom"]["secretKeyRef"]


def test_notes_say_what_is_missing() -> None:
    plain = notes(DEFAULTS)
    assert f"http://models-polyhost.{NAMESPACE}:80/invocations" in plain
    assert "each replica loads every model" in plain and "bearerToken.secret" in plain
    everything = notes(values_of("everything"))
    assert "kubectl get gateway" in everything and "prometheus-adapter.yaml" in everything
    assert "each replica loads every model" not in everything and "bearerToken" not in everything


def test_the_package_has_what_the_chart_needs(tmp_path: Path) -> None:
    with tarfile.open(package(tmp_path)) as archive:
        names = {name.removeprefix("polyhost/") for name in archive.getnames()}
    assert {"Chart.yaml", "values.yaml", "values.schema.json", "README.md", "files/dashboard.json"} <= names


def test_the_chart_is_for_this_version() -> None:
    chart: dict[str, Any] = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == polyhost.__version__
    assert re.fullmatch(r">=1\.30\..*", chart["kubeVersion"])
