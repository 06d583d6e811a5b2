"""A model that takes all that there is of something: others are served, and its unload frees what it had."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.hostile.scene import body_of
from tests.hostile.test_exhaustion import hold_descriptors
from tests.image.conftest import MODEL_NAME
from tests.image.engine import BUILD_SECONDS, ImageContainer, serving
from tests.support.models import MODELS

pytestmark = [pytest.mark.image, pytest.mark.timeout(BUILD_SECONDS)]

# Java's threads count as well.
PROCESSES = 500
SHARED_MEMORY_MB = 16


def start_processes() -> int:
    import os
    import signal

    started = 0
    while True:
        try:
            if os.fork() == 0:
                signal.pause()
        except OSError:
            return started
        started += 1


def fill_shared_memory() -> int:
    import os

    written = 0
    with open("/dev/shm/filled", "wb", buffering=0) as file:  # noqa: PTH123
        while True:
            try:
                written += file.write(os.urandom(1 << 16))
            except OSError:
                return written


def take_memory() -> int:
    held = []
    while True:
        held.append(b"x" * (16 << 20))


class Attack(NamedTuple):
    """What a model takes, the least that it gets, and the container's option that limits it, if any."""

    function: Callable[..., int]
    arguments: dict[str, int]
    least: int
    options: tuple[str, ...] = ()


ATTACKS = [
    Attack(start_processes, {}, 100, (f"--pids-limit={PROCESSES}",)),
    # The system's own limit may be lower than this number.
    Attack(hold_descriptors, {"count": 20_000}, 10_000),
    Attack(fill_shared_memory, {}, (SHARED_MEMORY_MB - 1) << 20, (f"--shm-size={SHARED_MEMORY_MB}m",)),
]
_NAMES = ["processes", "descriptors", "shared memory"]


@pytest.mark.parametrize("attack", ATTACKS, ids=_NAMES)
def test_other_models_are_served(front: str, image: str, models: Path, tmp_path: Path, attack: Attack) -> None:
    with _container(front, image, models, tmp_path, *attack.options) as container:
        taken = container.client.invoke("attacker", body_of(attack.function, **attack.arguments), "application/json")

        assert taken.status_code == 200, taken.text
        assert taken.json()["returned"] >= attack.least
        _check_that_others_are_served(container)
        if attack.function is not start_processes:  # with all processes taken, a load gets 507
            assert container.load("later").status_code == 200
            assert container.client.unload("later").status_code == 200
        assert container.client.unload("attacker").status_code == 200
        assert container.load("later").status_code == 200
        _check_that_others_are_served(container)


def test_a_model_that_takes_all_memory_ends_alone(front: str, image: str, models: Path, tmp_path: Path) -> None:
    with _container(front, image, models, tmp_path, "--memory=2g") as container:
        response = container.client.invoke("attacker", body_of(take_memory), "application/json")

        assert response.status_code == 507, response.text
        _check_that_others_are_served(container)
        assert container.load("later").status_code == 200
        assert container.state["Running"]
        assert container.client.invoke("attacker", body_of(one), "application/json").json() == {"returned": 1}


def one() -> int:
    return 1


@contextmanager
def _container(front: str, image: str, models: Path, folder: Path, *limits: str) -> Iterator[ImageContainer]:
    for name in ("neighbour", "later"):
        shutil.copytree(models / MODEL_NAME, folder / name)
    shutil.copytree(MODELS / "runs_code", folder / "attacker" / "model")
    settings = ["SAGEMAKER_MULTI_MODEL=true", f"POLYHOST_FRONTEND={front}", "POLYHOST_ZYGOTES=sklearn"]
    options = [*(f"--env={setting}" for setting in settings), f"--volume={folder}:/opt/ml/models:ro", *limits]
    with serving(image, *options) as container:
        for name in ("neighbour", "attacker"):
            assert container.load(name).status_code == 200, container.logs
        yield container


def _check_that_others_are_served(container: ImageContainer) -> None:
    for _ in range(20):
        response = container.invoke("neighbour", [[0.5], [3.5]])
        assert (response.status_code, response.json()) == (200, [0, 1])
