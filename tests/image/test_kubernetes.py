"""The image as a pod of the Helm chart runs it: with the pod's user, rights, mounts, variables and memory."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.kubernetes.chart import render, values_of
from tests.deploy.kubernetes.pod import Pod
from tests.image.conftest import MODEL_NAME
from tests.image.engine import BUILD_SECONDS, ImageContainer, docker, serving
from tests.support.model_store import TARGET, put, says
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.image, pytest.mark.timeout(BUILD_SECONDS)]

MEMORY_BYTES = 2 << 30
VALUES: dict[str, Any] = {**values_of("folder"), "resources": {"limits": {"memory": "2Gi"}, "requests": {"cpu": "1"}}}


def options_of(pod: Pod, folder: Path, models: Path) -> tuple[str, ...]:
    """Return what gives a container of the engine the pod's rights and volumes."""
    security, own = pod.spec["securityContext"], pod.container["securityContext"]
    assert own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"]
    options = ["--read-only", "--security-opt=no-new-privileges", f"--memory={pod.memory_bytes()}"]
    options += [f"--cap-drop={capability}" for capability in own["capabilities"]["drop"]]
    options += [f"--user={security['runAsUser']}:{security['runAsGroup']}"]
    options += [f"--env={name}={value}" for name, value in pod.environ().items()]
    for number, path in enumerate(pod.writable()):
        volume = folder / str(number)
        volume.mkdir()
        volume.chmod(0o2777)  # as the kubelet makes an emptyDir for an fsGroup
        options.append(f"--volume={volume}:{path}")
    return (*options, f"--volume={models}:/opt/ml/models:ro")


def test_answers_by_target_model_as_a_pod(front: str, sklearn_image: str, models: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(models, store)
    put(store, "team/a.tar.gz", says("from an archive"))
    for path in (store, *store.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    pod = Pod.of(render({**VALUES, "frontend": front}))
    with serving(sklearn_image, *options_of(pod, tmp_path, store)) as container:
        wait_for(lambda: container.http.get("/ready").status_code == 200, "readiness")
        assert invoke(container, "team/a.tar.gz", b"{}") == "from an archive"
        assert invoke(container, MODEL_NAME, b"[[0.5], [3.5]]") == "[0, 1]"
        assert limit_of(container) == MEMORY_BYTES
        docker("stop", f"--time={pod.spec['terminationGracePeriodSeconds']}", container.id, timeout=300)
        assert container.state["ExitCode"] == 0


def invoke(container: ImageContainer, name: str, body: bytes) -> str:
    headers = {TARGET: name, "Content-Type": "application/json"}
    response = container.http.post("/invocations", content=body, headers=headers)
    assert response.status_code == 200, response.text
    return response.text


def limit_of(container: ImageContainer) -> float:
    """Return the memory that admission takes for the container's."""
    families = text_string_to_metric_families(container.http.get("/metrics").text)
    return next(
        sample.value for family in families for sample in family.samples if sample.name == "polyhost_memory_limit_bytes"
    )
