"""POLYHOST_ISOLATION=strict: nothing that models could share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile import test_files, test_ordinary_models
from tests.hostile.scene import Denied, Scene, staged

DENIED = Denied("PermissionError")


@pytest.fixture(scope="module")
def strict_scene(front: str) -> Iterator[Scene]:
    with staged(front, POLYHOST_ISOLATION="strict") as scene:
        yield scene


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm", "/var/tmp", str(Path.home())])
def test_no_folder_is_shared(strict_scene: Scene, folder: str) -> None:
    attack = strict_scene.attack

    assert attack(test_files.write, path=f"{folder}/polyhost-test-planted") == DENIED
    assert attack(test_files.list_folder, path=folder) == DENIED


def test_home_is_empty(strict_scene: Scene) -> None:
    def list_home() -> list[str]:
        from pathlib import Path

        return [path.name for path in Path.home().iterdir()]

    assert strict_scene.attack(list_home) == []


def test_what_is_closed_in_the_standard_mode_is_closed(strict_scene: Scene) -> None:
    test_files.test_files_of_another_model(strict_scene)
    test_files.test_temp_folder_of_another_model(strict_scene)


@pytest.mark.parametrize(
    ("work", "result"),
    [
        (test_ordinary_models.writes_into_its_own_folder, "cached"),
        (test_ordinary_models.starts_programs, ["", "2", "imported", "-15"]),
        (test_ordinary_models.uses_threads_and_limits, [0, 1, 4, 9, 16]),
        (test_ordinary_models.looks_names_up, [True, "root", "127.0.0.1", True]),
        (test_ordinary_models.looks_at_itself, [True] * 4),
    ],
)
def test_an_ordinary_model(strict_scene: Scene, work: test_ordinary_models.Work, result: object) -> None:
    assert strict_scene.attack(work) == result
