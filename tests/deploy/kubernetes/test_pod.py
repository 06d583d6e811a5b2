"""The pod: few rights, settings that the container knows, and a container that starts and serves with them."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from polyhost.container.config import Config
from tests.container.test_config import RecordingEnviron
from tests.deploy.kubernetes import read_only
from tests.deploy.kubernetes.chart import CHART, DEFAULTS, VALUES, render, values_of
from tests.deploy.kubernetes.pod import SECRETS, Pod
from tests.integration.test_model_store import invoke
from tests.support.container import ContainerProcess, running
from tests.support.model_store import put, says
from tests.support.s3 import s3_server
from tests.support.waiting import wait_for

FILES = ("defaults", *sorted(path.stem for path in VALUES.glob("*.yaml")))
AFTER_FINISH_S = 3.5  # container/stopping.py


@pytest.fixture(scope="module", params=FILES)
def pod(request: pytest.FixtureRequest) -> Pod:
    return Pod.of(render(values_of(str(request.param))))


def settings_of_the_container() -> set[str]:
    environ = RecordingEnviron()
    Config.from_environ(environ)
    return environ.names


# What it may do


def test_it_is_restricted(pod: Pod) -> None:
    """As the strictest of Kubernetes' Pod Security Standards asks, and with a read-only root."""
    security = pod.spec["securityContext"]
    assert security["runAsNonRoot"] is True and security.get("runAsUser", 1000) != 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod.container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod.spec)
    assert not any("hostPath" in volume for volume in pod.spec["volumes"])
    assert pod.spec["automountServiceAccountToken"] is False and pod.spec["enableServiceLinks"] is False


def test_it_can_write_where_it_has_to(pod: Pod) -> None:
    assert pod.writable()[:3] == ["/var/lib/polyhost", "/tmp", "/var/tmp"]
    names = {volume["name"] for volume in pod.spec["volumes"]}
    assert {mount["name"] for mount in pod.container["volumeMounts"]} == names


# What it is given


def test_its_settings_are_known_to_the_container_and_right(pod: Pod) -> None:
    environ = pod.environ()
    known = settings_of_the_container()
    unknown = {name for name in environ if name not in known and not name.startswith("AWS_") and name != "TEAM"}
    assert unknown == set()
    config = Config.from_environ(environ)
    assert config.store is not None and config.port == 8080 and config.host == "0.0.0.0"


def test_the_schema_has_each_setting_that_the_chart_does_not_make() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    own = {name for file in FILES for name in Pod.of(render(values_of(file))).environ()}
    # The chart's mounts, its port and its kind of serving.
    fixed = {"RUN_DIR", "STATE_DIR", "UNPACK_DIR", "BASE_DIR", "HOST", "BIND_TO_PORT", "MULTI_MODEL"}
    fixed |= {"BATCH", "MAX_PAYLOAD_IN_MB"}  # batch transform's
    settings = {name for name in settings_of_the_container() if name.startswith(("POLYHOST_", "SAGEMAKER_", "MMS_"))}
    free = {name for name in settings if name.partition("_")[2] not in fixed}
    example = set(values_of("everything")["settings"])
    allowed, wanted = set(schema["properties"]["settings"]["properties"]), free - (own - example)
    assert allowed - wanted == set(), "not settings of the container, or the chart's own: take them out of the schema"
    assert wanted - allowed == set(), "new settings: add them to `settings` in deploy/kubernetes/values.schema.json"


def test_disk_and_memory_are_the_pods() -> None:
    pod = Pod.of(render({**DEFAULTS, "disk": {"size": "40Gi"}, "resources": {"limits": {"memory": "6Gi"}}}))
    assert pod.environ()["POLYHOST_UNPACK_MB"] == str(40 * 1024 * 3 // 4)
    assert pod.environ()["POLYHOST_WORKER_TEMP_MB"] == str(2 * 1024 // 2)
    resources = pod.container["resources"]
    assert resources["requests"] == {"cpu": "2", "memory": "6Gi", "ephemeral-storage": "40Gi"}
    assert resources["limits"] == {"memory": "6Gi"}


@pytest.mark.parametrize(
    ("settings", "unpacked", "layers"),
    [
        ({"POLYHOST_REQUIREMENTS": "off"}, "1536", None),
        ({"POLYHOST_REQUIREMENTS": "install"}, "1024", "512"),
        ({"POLYHOST_REQUIREMENTS": "install", "POLYHOST_LAYERS_MB": "100"}, "1024", "100"),
    ],
)
def test_packages_share_the_disk_with_archives(settings: dict[str, str], unpacked: str, layers: str | None) -> None:
    environ = Pod.of(render({**DEFAULTS, "disk": {"size": "2Gi"}, "settings": settings})).environ()
    assert (environ["POLYHOST_UNPACK_MB"], environ.get("POLYHOST_LAYERS_MB")) == (unpacked, layers)


@pytest.mark.parametrize(
    ("resources", "cores"),
    [({"requests": {"cpu": "3500m"}}, "4"), ({"requests": {"cpu": "500m"}, "limits": {"cpu": 2}}, "2")],
)
def test_a_model_gets_as_many_workers_as_the_pod_has_cores(resources: dict[str, Any], cores: str) -> None:
    limits = {"memory": "4Gi", **resources.get("limits", {})}
    pod = Pod.of(render({**DEFAULTS, "resources": {**resources, "limits": limits}}))
    assert pod.environ()["POLYHOST_MAX_WORKERS"] == cores


def test_the_grace_period_is_long_enough(pod: Pod) -> None:
    environ = pod.environ()
    parts = int(environ["POLYHOST_DRAIN_SECONDS"]) + int(environ["POLYHOST_FINISH_SECONDS"]) + AFTER_FINISH_S
    parts += pod.container.get("lifecycle", {"preStop": {"sleep": {"seconds": 0}}})["preStop"]["sleep"]["seconds"]
    assert parts < pod.spec["terminationGracePeriodSeconds"] < parts + 5


def test_the_probes_ask_what_the_container_answers(pod: Pod) -> None:
    asked = {name: pod.container[name]["httpGet"]["path"] for name in pod.container if name.endswith("Probe")}
    assert asked == {"startupProbe": "/ping", "livenessProbe": "/ping", "readinessProbe": "/ready"}


# A container with all that


@contextmanager
def started(tmp_path: Path, values: dict[str, Any]) -> Iterator[ContainerProcess]:
    """Run the container with the pod's variables and mounts, a read-only root and no capabilities."""
    try:
        subprocess.run(["unshare", "--mount", "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a mount namespace needs root and the command 'unshare'")
    if read_only.ENTRY_POINT.is_relative_to("/tmp"):
        pytest.skip("the repository is in /tmp, where the pod has a folder of its own")
    folders = [tmp_path / name for name in ("models", "state", "tmp", "var-tmp")]
    for folder in folders:
        folder.mkdir(exist_ok=True)
    pod = Pod.of(render(values))
    environ = {**pod.environ(), "SAGEMAKER_BASE_DIR": "", "SAGEMAKER_MULTI_MODEL": "", "HOME": "/"}
    front = environ.pop("POLYHOST_FRONTEND")
    entry_point = (Path(read_only.__file__), *folders)
    with running(tmp_path, front, entry_point=entry_point, **environ) as container:
        wait_for(lambda: container.http.get("/ready").status_code == 200, "readiness")
        yield container


@pytest.mark.parametrize("front", ["native", "mms"])
def test_a_volume_of_models(tmp_path: Path, front: str) -> None:
    put(tmp_path / "models", "team/a.tar.gz", says("from a volume"))
    values = {**values_of("folder"), "frontend": front, "settings": {"POLYHOST_ZYGOTES": "bare"}}
    with started(tmp_path, values) as container:
        response = invoke(container, "team/a.tar.gz")
        assert (response.status_code, response.text) == (200, "from a volume")
        assert container.http.get("/ping").status_code == 200
        assert container.metric("polyhost_disk_limit_bytes") == 20 * 1024 * 3 // 4 << 20


def test_a_bucket_with_a_secret_and_a_token(tmp_path: Path) -> None:
    pytest.importorskip("obstore")
    with s3_server() as (s3, variables):
        s3.create_bucket(Bucket="pods")  # the servers of a process share their buckets
        for name in ("hot-a.tar.gz", "b.tar.gz"):
            s3.put_object(Bucket="pods", Key=f"team/{name}", Body=says(name))
        store = {"url": "s3://pods/team/", "endpointUrl": variables["AWS_ENDPOINT_URL_S3"], "region": "us-east-1"}
        values = {
            **values_of("s3"),
            "store": {**store, "credentialsSecret": "minio", "loadAtStart": ["hot-*"], "pinned": ["hot-*"]},
            "bearerToken": {"secret": "token"},
            "settings": {"POLYHOST_ZYGOTES": "bare"},
        }
        with started(tmp_path, values) as container:
            token = f"Bearer {SECRETS['token']['token']}"
            container.http.headers["Authorization"] = token
            listed = container.http.get("/models").json()["models"]
            assert [(entry["modelName"], entry["pinned"]) for entry in listed] == [("hot-a.tar.gz", True)]
            assert invoke(container, "b.tar.gz").text == "b.tar.gz"
            # What Prometheus does with the token of the ServiceMonitor.
            assert container.metric("polyhost_target_misses_total") == 1
            del container.http.headers["Authorization"]
            assert container.http.get("/metrics").status_code == 401
            assert container.http.get("/ready").status_code == 200
