"""Temp folders of closed models are gone at once, and removed by another process."""

import os
from pathlib import Path

from polyhost.container import run_dir
from polyhost.container.forkserver.trash import Trash
from tests.support.waiting import wait_for


def nest(folder: Path, levels: int) -> None:
    """Make folders in folders, deeper than a path can say."""
    folder.mkdir(parents=True)
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("x" * 50, dir_fd=here)
        inner = os.open("x" * 50, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)


def wait_until_empty(trash: Trash, folder: Path) -> None:
    """Wait for the end of the process that empties the folder, too: it is a child of this one.

    It has the lowest priority: beside twenty busy processes it gets a thousandth of the machine's time.
    """

    def is_idle() -> bool:
        trash.check()
        return trash.is_idle

    wait_for(is_idle, "the end of the removal", 500)
    assert not list(folder.iterdir())


def test_folders_are_moved_aside_and_removed(tmp_path: Path) -> None:
    trash = Trash(tmp_path / "trash")
    nest(tmp_path / "deep", 1_200)  # more than Python's limit of nested calls
    (tmp_path / "many").mkdir()
    for number in range(500):
        (tmp_path / "many" / str(number)).touch()
    (tmp_path / "-rf").mkdir()
    (tmp_path / "-rf" / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    (tmp_path / "empty").mkdir()
    for name in ("deep", "many", "-rf", "empty", "missing"):
        trash.add(tmp_path / name)
        assert not (tmp_path / name).exists()
    wait_until_empty(trash, tmp_path / "trash")
    assert (tmp_path / "kept").exists()


def test_what_a_fork_server_left_is_removed_by_the_next(tmp_path: Path) -> None:
    nest(tmp_path / "trash" / "left", 3)
    wait_until_empty(Trash(tmp_path / "trash"), tmp_path / "trash")


def test_deeply_nested_run_folder_is_removed(tmp_path: Path) -> None:
    nest(tmp_path / "run", 3_000)
    run_dir.remove(tmp_path / "run")
    assert not (tmp_path / "run").exists()
