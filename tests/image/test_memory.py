"""Admission with a real limit. The test acts as SageMaker: on 507 it unloads the oldest model and retries."""

import json
import random
import shutil
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import joblib
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from tests.image.engine import BUILD_SECONDS, ImageContainer, docker, serving
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.image, pytest.mark.timeout(BUILD_SECONDS)]

LIMIT = 2 << 30
NAMES, LOADS = 400, 500
ROW = [0.0] * 64
SCRIPT = """
import numpy


def model_fn(model_dir):
    return numpy.random.default_rng().bytes(20_000_000)  # a model of 20 MB


def transform_fn(model, body, content_type, accept):
    return str(len(model)), "text/plain"
"""
GREEDY = """
import numpy


def model_fn(model_dir):
    return numpy.ones(2 << 30, dtype=numpy.uint8)  # far more than the size of its files suggests
"""


@dataclass
class Platform:
    """SageMaker's part: loads on demand; on 507 evicts the least recently used model, and retries."""

    container: ImageContainer
    loaded: "OrderedDict[str, None]" = field(default_factory=OrderedDict)
    rejections: int = 0
    loads: int = 0
    conflicts: int = 0
    lowest_use: float = 1.0

    def invoke(self, name: str) -> httpx.Response:
        if name not in self.loaded:
            self._load(name)
        self.loaded[name] = None
        self.loaded.move_to_end(name)
        return self.container.invoke(name, [ROW])

    def _load(self, name: str) -> None:
        while (response := self.container.load(name)).status_code in (507, 409):
            if response.status_code == 409:
                self._wait_until_unregistered(name)
                continue
            assert self.loaded, f"507 with nothing loaded\n{self.container.logs[-3000:]}"
            if self.rejections < 20:
                self.lowest_use = min(self.lowest_use, used_share(self.container))
            self.rejections += 1
            oldest, _ = self.loaded.popitem(last=False)
            assert self.container.client.unload(oldest).status_code == 200
        assert response.status_code == 200, f"{response.text}\n{self.container.logs[-3000:]}"
        self.loads += 1

    def _wait_until_unregistered(self, name: str) -> None:
        """MMS responds 507 before it has unregistered the model, and a retry can come in between."""
        self.conflicts += 1
        wait_for(lambda: name not in self.container.models(), f"{name} unregistered")


def cgroup(container: ImageContainer, version_2: str, version_1: str) -> str:
    """Return a file of the container's memory controller, as seen from inside."""
    paths = f"/sys/fs/cgroup/{version_2} /sys/fs/cgroup/memory/{version_1}"
    return docker("exec", container.id, "sh", "-c", f"cat $(ls {paths} 2>/dev/null)").stdout


def used_share(container: ImageContainer) -> float:
    """Return the used share of the limit, without the page cache, which the kernel reclaims before it kills."""
    used = int(cgroup(container, "memory.current", "memory.usage_in_bytes"))
    stat = dict(line.split() for line in cgroup(container, "memory.stat", "memory.stat").splitlines())
    return (used - int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))) / LIMIT


def oom_kills(container: ImageContainer) -> int:
    events = dict(line.split() for line in cgroup(container, "memory.events", "memory.oom_control").splitlines())
    return int(events["oom_kill"])


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """Make folders of models; return each with its response to ROW."""
    root = tmp_path_factory.mktemp("kinds")
    data, targets = load_digits(return_X_y=True)
    data = data / 16
    responses: dict[str, tuple[Path, str]] = {}
    for name, estimator in (
        ("logistic", LogisticRegression(max_iter=200)),
        ("forest", RandomForestClassifier(n_estimators=100, random_state=0)),
    ):
        (root / name).mkdir()
        estimator.fit(data[:500], targets[:500])
        joblib.dump(estimator, root / name / "model.joblib")
        responses[name] = (root / name, json.dumps(estimator.predict([ROW]).tolist()))
    import torch

    (root / "network").mkdir()
    network = torch.nn.Linear(64, 2)
    torch.nn.init.zeros_(network.weight)
    torch.nn.init.ones_(network.bias)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # PyTorch's, of TorchScript
        torch.jit.trace(network, torch.zeros(1, 64)).save(  # type: ignore[no-untyped-call]
            str(root / "network" / "model.pt")
        )
    responses["network"] = (root / "network", "[[1.0, 1.0]]")
    (root / "script").mkdir()
    (root / "script" / "inference.py").write_text(SCRIPT)
    responses["script"] = (root / "script", "20000000")
    return responses


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, kinds: dict[str, tuple[Path, str]]) -> tuple[Path, dict[str, str]]:
    """Make NAMES models below one folder; return it with their responses."""
    root = tmp_path_factory.mktemp("store")
    expected: dict[str, str] = {}
    for number in range(NAMES):
        folder, response = list(kinds.values())[number % len(kinds)]
        name = f"{number:08x}"
        shutil.copytree(folder, root / name / "model")
        expected[name] = response
    (root / "greedy" / "model").mkdir(parents=True)
    (root / "greedy" / "model" / "inference.py").write_text(GREEDY)
    return root, expected


@pytest.fixture(scope="module")
def start(front: str, image: str, store: tuple[Path, dict[str, str]]) -> Iterator[Callable[[], ImageContainer]]:
    options = [
        "--env=SAGEMAKER_MULTI_MODEL=true",
        f"--env=POLYHOST_FRONTEND={front}",
        f"--volume={store[0]}:/opt/ml/models:ro",
        f"--memory={LIMIT}",
    ]
    with serving(image, *options, f"--memory-swap={LIMIT}") as started:
        yield lambda: started


def test_endless_loads_never_exhaust_the_memory(
    front: str, start: Callable[[], ImageContainer], store: tuple[Path, dict[str, str]]
) -> None:
    container, expected = start(), store[1]
    platform = Platform(container)
    chosen = random.Random(0)
    while platform.loads < LOADS:
        name = chosen.choice(list(expected))
        response = platform.invoke(name)
        assert (response.status_code, "".join(response.text.split())) == (200, "".join(expected[name].split())), name

    assert oom_kills(container) == 0
    assert platform.rejections > 0, "the limit was never reached"
    assert platform.conflicts <= (0 if front == "native" else platform.rejections // 100)
    assert platform.lowest_use >= 0.8, "507 came before memory was short"
    print(f"{len(platform.loaded)} models loaded at the end, {platform.rejections} rejections")
    for name in platform.loaded:
        container.client.unload(name)


def test_load_that_exceeds_the_limit_affects_no_other_model(
    start: Callable[[], ImageContainer], store: tuple[Path, dict[str, str]]
) -> None:
    container, expected = start(), store[1]
    platform = Platform(container)
    neighbours = list(expected)[:4]
    for name in neighbours:
        assert platform.invoke(name).status_code == 200

    assert container.load("greedy").status_code == 507

    assert oom_kills(container) == 0
    assert sorted(container.models()) == sorted(neighbours)
    for name in neighbours:
        assert platform.invoke(name).status_code == 200
