"""A model that fills its temp folder, with POLYHOST_WORKER_TEMP_MB."""

import pytest

from tests.hostile.scene import Scene, request, staged
from tests.support.waiting import wait_for

LIMIT_MB = 8


def fill(megabytes: int, then_wait: bool) -> str:
    import os
    import tempfile
    import time
    from pathlib import Path

    folder = Path(tempfile.mkdtemp())
    for number in range(megabytes):
        (folder / str(number)).write_bytes(os.urandom(1 << 20))
    if then_wait:
        time.sleep(600)
    return str(folder)


def start_a_daemon() -> str:
    """Fill the home from a session of its own, without an end, and be gone."""
    import os
    import time
    from pathlib import Path

    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                with Path.home().joinpath("log").open("ab") as file:
                    file.write(os.urandom(1 << 16))
                time.sleep(0.005)
        os._exit(0)
    os.wait()
    return str(Path.home())


@pytest.mark.parametrize("mode", ["standard", "strict"])
def test_a_full_temp_folder_ends_its_model_alone(front: str, mode: str) -> None:
    settings = {"POLYHOST_WORKER_TEMP_MB": str(LIMIT_MB), "POLYHOST_ISOLATION": mode}
    with staged(front, ("--capabilities=docker",), **settings) as scene:
        container = scene.container
        pid = scene.victim_pid
        assert scene.attack(fill, megabytes=2, then_wait=False)

        response = request(container, scene.attacker, fill, megabytes=2 * LIMIT_MB, then_wait=True)

        assert response.status_code == 507, response.text
        assert f"may hold {LIMIT_MB} MB (POLYHOST_WORKER_TEMP_MB)" in response.json()["message"]
        event = container.wait_for_event("POLYHOST_WORKER_TEMP_MB", level="ERROR")
        assert event["model"] == scene.attacker
        assert scene.victim_pid == pid
        _check_that_it_begins_anew(scene)
        _check_daemons(scene)
        assert scene.victim_pid == pid


def _check_that_it_begins_anew(scene: Scene) -> None:
    def held() -> int:
        import tempfile
        from pathlib import Path

        return sum(path.lstat().st_size for path in Path(tempfile.gettempdir()).rglob("*"))

    assert scene.attack(held) < 1 << 20
    assert scene.attack(fill, megabytes=1, then_wait=False)


def _check_daemons(scene: Scene) -> None:
    """Check that what no request waits for is killed as well."""
    container = scene.container
    assert scene.attack(start_a_daemon)
    wait_for(lambda: len(container.events(level="ERROR", model=scene.attacker)) > 1, "the next error")
    wait_for(lambda: len(container.workers_of(scene.attacker)) == 1, "the end of the daemon")
    assert scene.attack(fill, megabytes=1, then_wait=False)
