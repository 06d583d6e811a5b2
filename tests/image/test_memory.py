"""The memory guard, with a real limit. The test plays SageMaker: on 507 it unloads the oldest and tries again."""

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
import torch
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from tests.container_process import wait_for
from tests.image.engine import BUILD_SECONDS, Container, docker, serving

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
    return numpy.ones(2 << 30, dtype=numpy.uint8)  # far more than its files tell
"""


@dataclass
class Platform:
    """What SageMaker does: loads on demand; on 507 unloads what was used least recently, and tries again."""

    container: Container
    loaded: "OrderedDict[str, None]" = field(default_factory=OrderedDict)
    refusals: int = 0
    loads: int = 0
    conflicts: int = 0
    lowest_use: float = 1.0

    def invoke(self, name: str) -> httpx.Response:
        if name not in self.loaded:
            self._load(name)
        self.loaded[name] = None
        self.loaded.move_to_end(name)
        return self.container.client.post(f"/models/{name}/invoke", json=[ROW])

    def _load(self, name: str) -> None:
        while (answer := self.container.load(name)).status_code in (507, 409):
            if answer.status_code == 409:
                self._wait_until_unregistered(name)
                continue
            assert self.loaded, f"507 with nothing loaded\n{self.container.logs[-3000:]}"
            if self.refusals < 20:
                self.lowest_use = min(self.lowest_use, used_share(self.container))
            self.refusals += 1
            oldest, _ = self.loaded.popitem(last=False)
            assert self.container.client.delete(f"/models/{oldest}").status_code == 200
        assert answer.status_code == 200, f"{answer.text}\n{self.container.logs[-3000:]}"
        self.loads += 1

    def _wait_until_unregistered(self, name: str) -> None:
        """MMS answers 507 before it has unregistered the model, and a retry can come in between."""
        self.conflicts += 1
        wait_for(lambda: name not in self.container.models(), f"{name} unregistered", 10)


def cgroup(container: Container, version_2: str, version_1: str) -> str:
    """A file of the container's memory controller, as the container sees it."""
    paths = f"/sys/fs/cgroup/{version_2} /sys/fs/cgroup/memory/{version_1}"
    return docker("exec", container.id, "sh", "-c", f"cat $(ls {paths} 2>/dev/null)").stdout


def used_share(container: Container) -> float:
    """Without the page cache, which the kernel takes back before it kills."""
    used = int(cgroup(container, "memory.current", "memory.usage_in_bytes"))
    stat = dict(line.split() for line in cgroup(container, "memory.stat", "memory.stat").splitlines())
    return (used - int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))) / LIMIT


def oom_kills(container: Container) -> int:
    events = dict(line.split() for line in cgroup(container, "memory.events", "memory.oom_control").splitlines())
    return int(events["oom_kill"])


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """Folders of models, and what each answers to ROW."""
    root = tmp_path_factory.mktemp("kinds")
    data, targets = load_digits(return_X_y=True)
    data = data / 16
    answers: dict[str, tuple[Path, str]] = {}
    for name, estimator in (
        ("logistic", LogisticRegression(max_iter=200)),
        ("forest", RandomForestClassifier(n_estimators=100, random_state=0)),
    ):
        (root / name).mkdir()
        estimator.fit(data[:500], targets[:500])
        joblib.dump(estimator, root / name / "model.joblib")
        answers[name] = (root / name, json.dumps(estimator.predict([ROW]).tolist()))
    (root / "network").mkdir()
    network = torch.nn.Linear(64, 2)
    torch.nn.init.zeros_(network.weight)
    torch.nn.init.ones_(network.bias)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # PyTorch's, of TorchScript
        torch.jit.trace(network, torch.zeros(1, 64)).save(str(root / "network" / "model.pt"))
    answers["network"] = (root / "network", "[[1.0, 1.0]]")
    (root / "script").mkdir()
    (root / "script" / "inference.py").write_text(SCRIPT)
    answers["script"] = (root / "script", "20000000")
    return answers


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, kinds: dict[str, tuple[Path, str]]) -> tuple[Path, dict[str, str]]:
    """NAMES models below one folder, and their answers."""
    root = tmp_path_factory.mktemp("store")
    expected: dict[str, str] = {}
    for number in range(NAMES):
        folder, answer = list(kinds.values())[number % len(kinds)]
        name = f"{number:08x}"
        shutil.copytree(folder, root / name / "model")
        expected[name] = answer
    (root / "greedy" / "model").mkdir(parents=True)
    (root / "greedy" / "model" / "inference.py").write_text(GREEDY)
    return root, expected


@pytest.fixture(scope="module")
def start(front: str, image: str, store: tuple[Path, dict[str, str]]) -> Iterator[Callable[[], Container]]:
    options = [
        "--env=SAGEMAKER_MULTI_MODEL=true",
        f"--env=POLYHOST_FRONTEND={front}",
        f"--volume={store[0]}:/opt/ml/models:ro",
        f"--memory={LIMIT}",
    ]
    with serving(image, *options, f"--memory-swap={LIMIT}") as started:
        yield lambda: started


def test_loads_without_end(front: str, start: Callable[[], Container], store: tuple[Path, dict[str, str]]) -> None:
    container, expected = start(), store[1]
    platform = Platform(container)
    chosen = random.Random(0)
    while platform.loads < LOADS:
        name = chosen.choice(list(expected))
        answer = platform.invoke(name)
        assert (answer.status_code, "".join(answer.text.split())) == (200, "".join(expected[name].split())), name

    assert oom_kills(container) == 0
    assert platform.refusals > 0, "the limit was never reached"
    assert platform.conflicts <= (0 if front == "native" else platform.refusals // 100)
    assert platform.lowest_use >= 0.8, "507 came before memory was short"
    print(f"{len(platform.loaded)} models loaded at the end, {platform.refusals} refusals")
    for name in platform.loaded:
        container.client.delete(f"/models/{name}")


def test_a_load_that_grows_beyond_the_limit_fails_alone(
    start: Callable[[], Container], store: tuple[Path, dict[str, str]]
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
