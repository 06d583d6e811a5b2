"""The scene of an attack: one container with a victim and an attacker, on each front end.

An attack is a function that is sent to the attacker as source, so it imports what it needs inside. It returns what it
has reached:

    def read(path: str) -> str:
        from pathlib import Path
        return Path(path).read_text()

    def test_files(scene: Scene) -> None:
        assert scene.attack(read, path=str(scene.victim_folder / "weights.txt")) == Denied("PermissionError")
"""

from collections.abc import Iterator

import pytest

from tests.hostile.scene import Scene, staged


@pytest.fixture(scope="session")
def scene(front: str) -> Iterator[Scene]:
    """Stage the scene once for all attacks on a front end."""
    with staged(front) as scene:
        yield scene
