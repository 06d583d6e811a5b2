"""Files of other models, of the container, and of the system."""

import sys
import sysconfig
from pathlib import Path

import pytest

from tests.hostile.scene import Denied, Scene

DENIED = Denied("PermissionError")


def read(path: str) -> str:
    from pathlib import Path

    return Path(path).read_text()


def list_folder(path: str) -> list[str]:
    import os

    return os.listdir(path)  # noqa: PTH208


def write(path: str) -> int:
    from pathlib import Path

    return Path(path).write_text("planted")


def append(path: str) -> str:
    import os

    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_APPEND))
    return "opened"


def truncate(path: str) -> str:
    import os

    os.truncate(path, 0)
    return "truncated"


def remove(path: str) -> str:
    from pathlib import Path

    Path(path).unlink()
    return "removed"


def link_and_read(path: str) -> str:
    import os
    from pathlib import Path

    link = Path("link")
    link.unlink(missing_ok=True)
    link.symlink_to(path)
    try:
        return link.read_text()
    finally:
        os.unlink(link)  # noqa: PTH108


def test_files_of_another_model(scene: Scene) -> None:
    weights = str(scene.victim_folder / "weights.txt")

    for attack in (read, append, truncate, remove, link_and_read):
        assert scene.attack(attack, path=weights) == DENIED, attack.__name__
    assert scene.attack(write, path=str(scene.victim_folder / "inference.py")) == DENIED
    assert scene.attack(list_folder, path=str(scene.victim_folder)) == DENIED
    assert scene.attack(list_folder, path=str(scene.container.models_dir)) == DENIED
    assert scene.attack(write, path=str(scene.container.models_dir / "new")) == DENIED


def test_temp_folder_of_another_model(scene: Scene) -> None:
    secret = scene.victim_temp_file

    for attack in (read, write, remove):
        assert scene.attack(attack, path=str(secret)) == DENIED
    assert scene.attack(list_folder, path=str(secret.parent)) == DENIED


@pytest.mark.parametrize("name", ["launch.fifo", "attempts/1", "launches/1", "homes/1"])
def test_files_of_the_run_folder(scene: Scene, name: str) -> None:
    assert scene.attack(write, path=str(scene.run_dir / name)) == DENIED
    assert scene.attack(list_folder, path=str((scene.run_dir / name).parent)) == DENIED


def test_fifo_of_the_launchers(scene: Scene) -> None:
    assert scene.attack(append, path=str(scene.run_dir / "launch.fifo")) == DENIED


def test_estimates(scene: Scene) -> None:
    """They decide on which load fits into memory, and outlive the container."""
    scene.state_dir.mkdir(exist_ok=True)
    (scene.state_dir / "estimates.json").touch()

    for attack in (read, write):
        assert scene.attack(attack, path=str(scene.state_dir / "estimates.json")) == DENIED


@pytest.mark.parametrize(
    "folder",
    [
        Path(sysconfig.get_paths()["purelib"]),
        Path(sys.modules["polyhost"].__path__[0], "container"),
        Path("/etc"),
        Path("/usr/lib"),
        Path("/sys/fs/cgroup"),
    ],
)
def test_code_and_settings_cannot_be_planted(scene: Scene, folder: Path) -> None:
    """What lies in the first two would run in every process of the container."""
    if folder.resolve().is_relative_to("/tmp"):
        pytest.skip(f"{folder} lies below /tmp, which models share (SECURITY.md)")
    try:
        assert scene.attack(write, path=str(folder / "polyhost_test_planted.py")) == DENIED
    finally:
        (folder / "polyhost_test_planted.py").unlink(missing_ok=True)


def test_settings_of_the_kernel(scene: Scene) -> None:
    assert scene.attack(append, path="/proc/sys/kernel/core_pattern") == DENIED


def test_home_is_the_models_own(scene: Scene) -> None:
    """Python imports from ~/.local; a shell runs ~/.bashrc."""

    def plant(home: str) -> list[str]:
        from pathlib import Path

        done = []
        for name in (".bashrc", ".profile", ".local/lib/python3.11/site-packages/planted.pth", ".config/app/settings"):
            try:
                (Path(home) / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(home) / name).unlink(missing_ok=True)
                (Path(home) / name).write_text("planted")
                done.append(name)
            except PermissionError:
                pass
        return done

    def home() -> str:
        from pathlib import Path

        return str(Path.home())

    assert scene.attack(plant, home=str(scene.home)) == []
    own = scene.attack(home)
    assert scene.run_dir in Path(own).parents
    assert ".profile" in scene.attack(plant, home=own)
    assert (scene.home / ".bashrc").read_text() == "original"
    assert not (scene.home / ".local").exists()
    assert list((scene.home / ".config" / "app").iterdir()) == []
