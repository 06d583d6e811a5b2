"""A model's files are given to its group: by what they are, and once."""

import os
from pathlib import Path

import pytest

from polyhost.container.isolation import ownership

GROUP = 50_123

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to any group")


def mode(path: Path) -> str:
    return f"{path.lstat().st_mode & 0o7777:o}"


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "name" / "model"
    (folder / "code").mkdir(parents=True)
    for path, permissions in ((folder.parent, 0o700), (folder / "code", 0o700), (folder, 0o755)):
        path.chmod(permissions)
    for name, permissions in (("weights", 0o600), ("code/run", 0o4755), ("read-only", 0o444)):
        (folder / name).touch()
        (folder / name).chmod(permissions)
    return tmp_path / "models"


def test_group_gets_what_the_owner_has(models_dir: Path) -> None:
    folder = models_dir / "name" / "model"
    ownership.give(folder, GROUP, [models_dir])

    found = {path.name: mode(path) for path in (folder.parent, folder, *folder.rglob("*"))}
    assert found == {
        "name": "710", "model": "770", "code": "770", "weights": "660", "run": "775", "read-only": "444"
    }  # fmt: skip
    assert {path.stat().st_gid for path in (folder, *folder.rglob("*"))} == {GROUP}
    assert folder.stat().st_uid == os.geteuid()
    assert models_dir.stat().st_gid != GROUP


def test_links_and_what_has_several_names_are_left_alone(models_dir: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("x")
    folder = models_dir / "name" / "model"
    (folder / "symbolic").symlink_to(outside)
    (folder / "linked-folder").symlink_to(tmp_path)
    (folder / "hard").hardlink_to(outside)
    os.mkfifo(folder / "fifo")
    ownership.give(folder, GROUP, [models_dir])

    assert outside.stat().st_gid != GROUP
    assert (folder / "fifo").stat().st_gid != GROUP
    assert (folder / "weights").stat().st_gid == GROUP


def test_a_folder_is_given_once_to_one_group(models_dir: Path) -> None:
    """The model's code may have put something there since."""
    folder = models_dir / "name" / "model"
    ownership.give(folder, GROUP, [models_dir])
    (folder / "later").touch()
    ownership.give(folder, GROUP, [models_dir])
    assert (folder / "later").stat().st_gid != GROUP

    ownership.give(folder, GROUP + 1, [models_dir])
    assert (folder / "later").stat().st_gid == GROUP + 1
