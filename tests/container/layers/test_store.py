import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polyhost.container.layers.store import Layer, LayerStore

KEYS = [f"{number:064x}" for number in range(6)]


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    return LayerStore(tmp_path / "layers").prepare()


def make(store: LayerStore, key: str, size: int = 10, used: float | None = None) -> None:
    with store.workplace() as workplace:
        site = workplace / "site"
        (site / "package").mkdir(parents=True)
        (site / "package" / "module.py").write_text("VALUE = 1\n")
        lock = store.lock_alone(key, time.monotonic() + 60)
        assert lock is not None
        store.publish(site, Layer(key, ("package==1",), size))
        lock.close()
    if used is not None:
        os.utime(store.site(key).parent, (used, used))


def test_a_layer_is_found_and_cannot_be_changed_by_accident(store: LayerStore) -> None:
    assert store.find(KEYS[0]) is None
    assert store.hold(KEYS[0]) is None
    make(store, KEYS[0])

    layer, hold = store.hold(KEYS[0]) or pytest.fail("no layer")
    hold.close()
    hold.close()
    assert layer == Layer(KEYS[0], ("package==1",), 10)
    modes = {path.stat().st_mode & 0o222 for path in store.site(KEYS[0]).rglob("*")}
    assert modes == {0}


def test_the_least_recently_used_are_removed_unless_held(store: LayerStore, tmp_path: Path) -> None:
    for number, key in enumerate(KEYS[:5]):
        make(store, key, size=10, used=1000 + number)
    _, hold = store.hold(KEYS[1]) or pytest.fail("no layer")
    os.utime(store.site(KEYS[1]).parent, (1001, 1001))
    gone: list[str] = []

    left = store.make_room(25, KEYS[4], lambda layer: gone.append(layer.key))

    assert left == 20
    assert gone == [KEYS[0], KEYS[2], KEYS[3]]
    hold.close()
    assert store.make_room(0, KEYS[4]) == 10
    assert sorted(path.name for path in (tmp_path / "layers" / "layers").iterdir()) == [KEYS[4]]
    assert list((tmp_path / "layers" / "building").iterdir()) == []
    assert [path.name for path in (tmp_path / "layers" / "locks").iterdir()] == [KEYS[4]]


def test_use_counts(store: LayerStore) -> None:
    for number, key in enumerate(KEYS[:3]):
        make(store, key, used=1000 + number)
    _, hold = store.hold(KEYS[0]) or pytest.fail("no layer")
    hold.close()

    store.make_room(20, "")

    assert [store.find(key) is not None for key in KEYS[:3]] == [True, False, True]


def test_whoever_waits_for_a_lock_gets_the_one_of_the_new_file(store: LayerStore) -> None:
    make(store, KEYS[0])
    lock = store.lock_alone(KEYS[0], time.monotonic())
    assert lock is not None
    assert store.lock_alone(KEYS[0], time.monotonic() + 0.2) is None
    assert store.hold(KEYS[0]) is None
    store.discard(KEYS[0])
    lock.close()
    assert store.lock_alone(KEYS[0], time.monotonic()) is not None


def test_texts(store: LayerStore, tmp_path: Path) -> None:
    assert store.key_for("d") is None
    store.remember("d", KEYS[0])
    assert store.key_for("d") == KEYS[0]
    (tmp_path / "layers" / "texts" / "d").write_text("../../etc")
    assert store.key_for("d") is None


BUILD_AND_WAIT = """
import sys
from pathlib import Path
from polyhost.container.layers.store import LayerStore
store = LayerStore(Path(sys.argv[1]))
with store.workplace() as workplace:
    (workplace / "site").mkdir()
    (workplace / "site" / "half.py").write_text("half")
    (workplace / "site").chmod(0o555)
    print("there", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_builder_leaves_is_no_layer_and_is_removed(store: LayerStore, tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILD_AND_WAIT, str(tmp_path / "layers")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == b"there\n"
        store.sweep()
        building = tmp_path / "layers" / "building"
        assert len(list(building.iterdir())) == 1, "it is at work"

        builder.send_signal(signal.SIGKILL)
        builder.wait()

        assert list((tmp_path / "layers" / "layers").iterdir()) == []
        store.sweep()
        assert list(building.iterdir()) == []
