"""The zygotes together: which are started, what becomes of requests, and a zygote that dies."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polyhost.container.config import Config
from polyhost.container.control_protocol import ForkRequest, ModelRef
from polyhost.container.forkserver.zygote.pool import ForkEvents, ZygotePool
from polyhost.container.system.event_loop import EventLoop
from polyhost.handlers.frameworks import BARE
from tests.container.forking import descriptors_of, new_descriptors

PRELOAD = {"json": ("json.tool",), "no_such_framework": ("no_such_framework.x",), BARE: ()}


class Stage:
    """A pool in a loop that runs until something has happened."""

    def __init__(self, folder: Path, zygotes: tuple[str, ...] | None = None, **environ: str) -> None:
        self.folder = folder
        self.heard: list[tuple[str, int]] = []
        self.loop = EventLoop()
        self._log = (folder / "log").open("ab")
        self._sequence = 0
        events = ForkEvents(*(self._note(kind) for kind in ("started", "exited", "failed")))
        config = replace(Config.from_environ({"SAGEMAKER_BASE_DIR": str(folder), **environ}), zygotes=zygotes)
        self.pool = ZygotePool(self.loop, config, PRELOAD, folder, self._log.fileno(), events)
        self.pool.start()
        self.loop.after(60, lambda: self.loop.stop(1))

    def _note(self, kind: str) -> Callable[[int, Any], None]:
        def note(sequence: int, *_: Any) -> None:
            self.heard.append((kind, sequence))
            if kind in ("exited", "failed"):
                self.loop.stop(0)

        return note

    def fork(self, framework: str, model: str = "m") -> int:
        """A worker that ends at once, for MMS has hung up."""
        self._sequence += 1
        folder = str(self.folder)
        request = ForkRequest(self._sequence, ModelRef(model, folder, "handle.py"), folder, folder)
        self.pool.fork(framework, request, new_descriptors())
        return self._sequence

    def run(self) -> None:
        self.loop._exit = None
        assert self.loop.run() == 0, f"not within a minute; heard: {self.heard}"

    def close(self) -> None:
        self.pool.kill()
        self._log.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.close()


def test_there_is_a_zygote_for_what_is_installed_and_one_for_all_else(stage: Stage) -> None:
    assert list(stage.pool.pids()) == ["json", BARE]


def test_the_settings_may_choose(tmp_path: Path) -> None:
    stage = Stage(tmp_path, ("no_such_framework",))
    assert list(stage.pool.pids()) == ["no_such_framework", BARE]
    stage.close()


@pytest.mark.parametrize("framework", ["json", BARE, "a framework without a zygote"])
def test_a_worker_begins_and_ends(stage: Stage, framework: str) -> None:
    sequence = stage.fork(framework)
    stage.run()

    assert stage.heard == [("started", sequence), ("exited", sequence)]


def test_a_dead_zygote_is_replaced_and_what_waited_for_it_is_done(stage: Stage) -> None:
    dead = stage.pool.pids()[BARE]
    os.kill(dead, signal.SIGKILL)
    sequence = stage.fork(BARE)
    stage.run()

    assert ("started", sequence) in stage.heard
    assert stage.pool.pids()[BARE] != dead
    assert not Path(f"/proc/{dead}").exists()


def test_a_request_too_long_fails_alone(stage: Stage) -> None:
    stage.fork(BARE)
    stage.run()
    before = len(descriptors_of())
    pid = stage.pool.pids()[BARE]
    too_long = stage.fork(BARE, "m" * 70_000)
    stage.run()
    assert stage.heard[-1] == ("failed", too_long)
    assert len(descriptors_of()) == before

    sequence = stage.fork(BARE)
    stage.run()
    assert (stage.heard[-1], stage.pool.pids()[BARE]) == (("exited", sequence), pid)


def test_a_zygote_may_die_more_than_once(stage: Stage) -> None:
    for _ in range(2):
        os.kill(stage.pool.pids()[BARE], signal.SIGKILL)
        stage.fork(BARE)
        stage.run()

    assert [kind for kind, _ in stage.heard].count("exited") == 2


def test_a_zygote_that_cannot_get_through_its_imports_still_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that crashes on import must not cost the models that do without it."""
    (tmp_path / "crashes.py").write_text("import os; os.abort()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    stage = Stage(tmp_path, (BARE,), POLYHOST_PRELOAD="crashes")
    sequence = stage.fork(BARE)
    stage.run()

    assert stage.heard == [("started", sequence), ("exited", sequence)]
    stage.close()


def test_nothing_is_left_open(tmp_path: Path) -> None:
    before = len(descriptors_of())
    stage = Stage(tmp_path)
    stage.fork(BARE)
    os.kill(stage.pool.pids()[BARE], signal.SIGKILL)
    stage.fork(BARE)
    stage.run()
    stage.close()
    stage.loop._selector.close()

    assert len(descriptors_of()) == before
