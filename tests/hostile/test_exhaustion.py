"""A model that takes as much as it can of what all processes share: others are served, and new models load."""

import shutil

from tests.hostile.scene import Scene
from tests.support.models import place

COUNT = 20_000


def hold_descriptors(count: int) -> int:
    """Open files until there are that many or the system refuses, keep them, and return their number."""
    import builtins
    import os

    held = [os.open("/dev/null", os.O_RDONLY)]
    try:
        while len(held) < count:
            held.append(os.dup(held[0]))
    except OSError:
        pass
    builtins.held_by_the_attacker = held  # type: ignore[attr-defined]
    return len(held)


def release_descriptors() -> int:
    import builtins
    import os

    held = builtins.held_by_the_attacker  # type: ignore[attr-defined]
    while held:
        os.close(held.pop())
    return len(held)


def test_descriptors(scene: Scene) -> None:
    container = scene.container
    held = scene.attack(hold_descriptors, count=COUNT)
    try:
        assert held > COUNT // 2
        scene.check_that_all_serve()
        later = place("holds_a_secret", container.models_dir)
        container.loaded(later)
        assert container.invoke(later).status_code == 200
        container.unload(later)
        shutil.rmtree(container.models_dir / later)
    finally:
        assert scene.attack(release_descriptors) == 0
    scene.check_that_all_serve()
