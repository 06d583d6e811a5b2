"""The pool of zygotes: which are started, where requests go, and restarts."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from polyhost.container.config import Config
from polyhost.container.control_protocol import ForkRequest, ModelRef, Started
from polyhost.container.forkserver.zygote.pool import ForkEvents, ZygotePool
from polyhost.container.forkserver.zygote.restarts import RestartDelays
from polyhost.container.log import LogDescriptors
from polyhost.container.system.event_loop import EventLoop
from polyhost.container.system.procfs import children_of
from polyhost.handlers.frameworks import BARE, ZygoteSteps
from tests.container.forking import descriptors_of, new_descriptors, opened_since
from tests.support.waiting import wait_for

STEPS = {
    "json": ZygoteSteps(("json.tool",)),
    "no_such_framework": ZygoteSteps(("no_such_framework.x",)),
    BARE: ZygoteSteps(),
}
DELAYS = RestartDelays()
NEVER_S = 1e6
_LIMIT_S = 300  # of a stage: a busy machine takes a minute for a zygote's imports


class Stage:
    """A pool in a loop that runs until a worker has exited or could not be forked."""

    def __init__(
        self,
        folder: Path,
        steps: Mapping[str, ZygoteSteps] = STEPS,
        delays: RestartDelays = DELAYS,
        expected: Sequence[str] | None = None,
        **environ: str,
    ) -> None:
        """Start the zygotes that are `expected`, by default all, as with models of each framework."""
        self.folder = folder
        self.events: list[tuple[str, int]] = []
        self.loop = EventLoop()
        self._log = (folder / "log").open("ab")
        self._sequence = 0
        callbacks = ForkEvents(self._note("started"), self._note("exited"), self._note("failed"))
        config = Config.from_environ({"SAGEMAKER_BASE_DIR": str(folder), **environ})
        self.pool = ZygotePool(self.loop, config, steps, folder, LogDescriptors(self._log.fileno()), callbacks, delays)
        self.pool.expect(steps if expected is None else expected)
        self.pool.start()
        self.loop.after(_LIMIT_S, lambda: self.loop.stop(1))

    def _note(self, kind: str) -> Callable[..., None]:
        def note(about: int | Started, *_: Any) -> None:
            self.events.append((kind, about.sequence if isinstance(about, Started) else about))
            if kind in ("exited", "failed"):
                self.loop.stop(0)

        return note

    def fork(self, framework: str, model: str = "m") -> int:
        """Ask for a worker, which ends at once because its front end has hung up; return its sequence number."""
        self._sequence += 1
        folder = str(self.folder)
        request = ForkRequest(self._sequence, ModelRef(model, folder, "handle.py"), folder, folder)
        self.pool.fork(framework, request, new_descriptors())
        return self._sequence

    def run(self) -> None:
        self.loop._exit = None
        assert self.loop.run() == 0, f"not within {_LIMIT_S} s; events: {self.events}"

    def close(self) -> None:
        self.pool.kill()
        self._log.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.close()


def test_each_framework_that_is_expected_and_installed_has_a_zygote(stage: Stage) -> None:
    assert list(stage.pool.pids()) == ["json", BARE]


def test_models_of_a_framework_without_a_zygote_are_forked_from_the_bare_one(tmp_path: Path) -> None:
    stage = Stage(tmp_path, expected=["json"])
    assert list(stage.pool.pids()) == ["json"]
    sequence = stage.fork("no_such_framework")
    stage.run()
    assert stage.events == [("started", sequence), ("exited", sequence)]
    assert list(stage.pool.pids()) == ["json", BARE]
    stage.close()


def test_a_zygote_that_nothing_uses_makes_room_and_starts_again_with_the_next_model(tmp_path: Path) -> None:
    before = descriptors_of()
    stage = Stage(tmp_path)
    stage.fork("json")
    assert stage.pool.free_memory("a framework without a zygote") is False, "the bare one is meant, the other in use"
    stage.run()
    assert stage.pool.free_memory("json")
    assert list(stage.pool.pids()) == ["json"]
    assert not stage.pool.free_memory("json"), "its own is needed"
    assert stage.pool.free_memory(BARE)
    assert stage.pool.pids() == {}
    stage.pool.start()
    assert stage.pool.pids() == {}

    sequence = stage.fork("json")
    stage.run()
    assert stage.events[-1] == ("exited", sequence)
    assert list(stage.pool.pids()) == ["json"]
    stage.close()
    stage.loop._selector.close()
    assert not opened_since(before)


def test_a_zygote_with_a_worker_is_kept(tmp_path: Path) -> None:
    stage = Stage(tmp_path, expected=["json"])
    stage.fork("json")
    while not stage.events:
        stage.loop.after(0.001, lambda: stage.loop.stop(0))
        stage.run()
    assert stage.events[0][0] == "started"
    zygote = stage.pool._zygotes["json"]
    zygote.workers.add(1_000_000)  # that of `fork` ends at once
    assert not stage.pool.free_memory(BARE)
    stage.close()


def test_settings_choose_the_zygotes(tmp_path: Path) -> None:
    stage = Stage(tmp_path, {**STEPS, "sklearn": ZygoteSteps()}, POLYHOST_ZYGOTES="sklearn")
    assert list(stage.pool.pids()) == ["sklearn", BARE]
    stage.close()


def test_a_zygote_on_demand_starts_with_the_first_load(tmp_path: Path) -> None:
    pytest.importorskip("xgboost")
    stage = Stage(tmp_path, {**STEPS, "xgboost": ZygoteSteps()}, expected=["json", BARE])
    assert list(stage.pool.pids()) == ["json", BARE]
    expected = stage.pool.bytes_to_come("xgboost")
    assert expected > stage.pool.bytes_to_come("json") == 0
    sequence = stage.fork("xgboost")
    assert 0 < stage.pool.bytes_to_come("json") <= expected, "the zygote starts, and takes its memory before any load's"
    stage.run()

    assert stage.events == [("started", sequence), ("exited", sequence)]
    assert list(stage.pool.pids()) == ["json", BARE, "xgboost"]
    assert stage.pool.bytes_to_come("xgboost") == 0
    stage.close()


def test_a_zygote_that_is_named_starts_at_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path, {**STEPS, "xgboost": ZygoteSteps()}, POLYHOST_ZYGOTES="xgboost")
    assert list(stage.pool.pids()) == ["xgboost", BARE]
    stage.close()


@pytest.mark.parametrize("framework", ["json", BARE, "a framework without a zygote"])
def test_start_and_exit_of_a_worker_are_reported(stage: Stage, framework: str) -> None:
    sequence = stage.fork(framework)
    stage.run()

    assert stage.events == [("started", sequence), ("exited", sequence)]


def test_dead_zygote_is_restarted_and_gets_its_pending_requests(stage: Stage) -> None:
    dead = stage.pool.pids()[BARE]
    os.kill(dead, signal.SIGKILL)
    sequence = stage.fork(BARE)
    stage.run()

    assert ("started", sequence) in stage.events
    assert stage.pool.pids()[BARE] != dead
    assert not Path(f"/proc/{dead}").exists()


PROMPT = RestartDelays(silent_rounds=3)


def check_while_hung(stage: Stage, hung: Callable[[int], bool]) -> None:
    """Have rounds pass while the bare zygote is one of those that hang: others take as long as the machine needs."""
    stage.loop.every(0.1, lambda: stage.pool.check() if hung(stage.pool.pids()[BARE]) else None)


def silent_stage(folder: Path, stopped: set[int]) -> Stage:
    """Return a pool with rounds, whose bare zygote has done its imports and is stopped, as are those in `stopped`."""
    stage = Stage(folder, {BARE: ZygoteSteps()}, PROMPT)
    stage.fork(BARE)
    stage.run()
    zygote = stage.pool.pids()[BARE]
    os.kill(zygote, signal.SIGSTOP)
    stopped.add(zygote)
    check_while_hung(stage, stopped.__contains__)
    return stage


def test_a_zygote_that_hangs_is_replaced_and_its_requests_are_answered(tmp_path: Path) -> None:
    stage = silent_stage(tmp_path, set())
    try:
        hung = stage.pool.pids()[BARE]
        sequence = stage.fork(BARE)
        stage.run()
        assert stage.events[-2:] == [("started", sequence), ("exited", sequence)]
        assert stage.pool.pids()[BARE] != hung
        assert not Path(f"/proc/{hung}").exists()
    finally:
        stage.close()


def test_a_fork_that_hangs_with_a_request_does_not_come_back(tmp_path: Path) -> None:
    """The spare has the request, and the zygote waits for it."""
    stage = Stage(tmp_path, {BARE: ZygoteSteps()}, PROMPT)
    try:
        stage.fork(BARE)
        stage.run()
        zygote = stage.pool.pids()[BARE]
        wait_for(lambda: children_of(zygote), "a spare")
        [spare] = children_of(zygote)
        os.kill(spare, signal.SIGSTOP)
        check_while_hung(stage, zygote.__eq__)
        sequence = stage.fork(BARE)
        stage.run()
        assert stage.events[-2:] == [("started", sequence), ("exited", sequence)]
        wait_for(lambda: not is_running(spare), "the spare has ended")
    finally:
        stage.close()


def test_a_request_that_two_zygotes_do_not_answer_fails(tmp_path: Path) -> None:
    stopped: set[int] = set()
    stage = silent_stage(tmp_path, stopped)
    first = stage.pool.pids()[BARE]

    def stop_the_next() -> None:
        zygote = stage.pool._zygotes[BARE]
        if zygote.process.pid == first or zygote.process.returncode is not None:
            stage.loop.after(0.001, stop_the_next)
        else:
            os.kill(zygote.process.pid, signal.SIGSTOP)
            stopped.add(zygote.process.pid)
            zygote.restarts.on_ready()  # as if it had finished importing; it imports nothing

    try:
        stop_the_next()
        sequence = stage.fork(BARE)
        stage.run()
        assert stage.events[-1] == ("failed", sequence)
        later = stage.fork(BARE)
        stage.run()
        assert stage.events[-1] == ("exited", later)
    finally:
        stage.close()


def test_no_number_of_requests_to_a_zygote_that_hangs_blocks(tmp_path: Path) -> None:
    stage = silent_stage(tmp_path, set())
    try:
        sequences = [stage.fork(BARE, "m" * 10_000) for _ in range(60)]  # more than the channel takes
        while not {("exited", sequence) for sequence in sequences}.issubset(stage.events):
            stage.run()
    finally:
        stage.close()


def test_the_time_of_imports_does_not_count_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zygote whose imports took longer than it may be silent for was killed when it had done them."""
    file = write_module(tmp_path, f"import time\n  while os.path.exists({str(tmp_path / 'fails')!r}): time.sleep(0.01)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    stage = Stage(tmp_path, {BARE: ZygoteSteps(("fragile",))}, PROMPT)
    try:
        zygote = stage.pool.pids()[BARE]
        sequence = stage.fork(BARE)
        for _ in range(10):
            stage.pool.check()
        file.unlink()
        handle = stage.pool._zygotes[BARE]
        on_ready = handle.on_ready

        def check_when_ready() -> None:
            on_ready()
            stage.pool.check()

        monkeypatch.setattr(handle, "on_ready", check_when_ready)
        stage.run()
        assert stage.events == [("started", sequence), ("exited", sequence)]
        assert stage.pool.pids()[BARE] == zygote
    finally:
        stage.close()


def test_requests_wait_for_their_zygote_only_when_those_before_are_answered(tmp_path: Path) -> None:
    stage = silent_stage(tmp_path, set())
    try:
        first, second = stage.fork(BARE), stage.fork(BARE)
        zygote = stage.pool._zygotes[BARE]
        for _ in range(PROMPT.silent_rounds):
            assert zygote.overdue() == []
        zygote.complete(first)
        assert zygote.overdue() == []
        for _ in range(PROMPT.silent_rounds - 1):
            zygote.overdue()
        assert zygote.overdue() == [second]
    finally:
        stage.close()


def is_running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_too_long_request_fails_without_affecting_others(stage: Stage) -> None:
    stage.fork(BARE)
    stage.run()
    before = descriptors_of()
    pid = stage.pool.pids()[BARE]
    too_long = stage.fork(BARE, "m" * 70_000)
    stage.run()
    assert stage.events[-1] == ("failed", too_long)
    assert not opened_since(before)

    sequence = stage.fork(BARE)
    stage.run()
    assert (stage.events[-1], stage.pool.pids()[BARE]) == (("exited", sequence), pid)


def test_zygote_is_restarted_every_time(stage: Stage) -> None:
    for _ in range(2):
        os.kill(stage.pool.pids()[BARE], signal.SIGKILL)
        stage.fork(BARE)
        stage.run()

    assert [kind for kind, _ in stage.events].count("exited") == 2


CRASHES = "os.abort()"
SHORTAGES = {
    "processes": "raise BlockingIOError(11, 'fork')",
    "memory": "raise MemoryError",
    "threads": 'raise RuntimeError("can\'t start new thread")',
    "native code": "os.write(2, b'libgomp: Thread creation failed: Resource temporarily unavailable\\n'); os._exit(1)",
}


def write_module(folder: Path, fails: str) -> Path:
    """Write a module that fails for as long as the file exists that is returned."""
    file = folder / "fails"
    file.touch()
    (folder / "fragile.py").write_text(f"import os\nif os.path.exists({str(file)!r}):\n  {fails}\n")
    return file


def run_until_ready(stage: Stage, framework: str) -> None:
    """Run the loop until the framework's zygote has done its imports after all."""

    def check() -> None:
        if stage.pool._zygotes[framework].restarts.given_up:
            stage.loop.after(0.02, check)
        else:
            stage.loop.stop(0)

    check()
    stage.run()


@pytest.mark.parametrize(
    ("fails", "delays"),
    [
        (CRASHES, RestartDelays(restart_s=0.01, given_up_s=0.3, shortage_s=NEVER_S)),
        *((code, RestartDelays(restart_s=NEVER_S, given_up_s=NEVER_S, shortage_s=0.3)) for code in SHORTAGES.values()),
    ],
    ids=["crash", *SHORTAGES],
)
@pytest.mark.parametrize("framework", ["json", BARE])
def test_models_are_served_while_imports_fail_and_by_the_zygote_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str, delays: RestartDelays, framework: str
) -> None:
    file = write_module(tmp_path, fails)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    stage = Stage(tmp_path, {"json": ZygoteSteps(), BARE: ZygoteSteps(), framework: ZygoteSteps(("fragile",))}, delays)
    try:
        sequence = stage.fork(framework)
        stage.run()
        assert stage.events == [("started", sequence), ("exited", sequence)]
        assert "fallback" in stage.pool.pids()

        file.unlink()
        run_until_ready(stage, framework)
        os.kill(stage.pool.pids()["fallback"], signal.SIGSTOP)
        sequence = stage.fork(framework)
        stage.run()
        assert stage.events[-2:] == [("started", sequence), ("exited", sequence)]
    finally:
        stage.close()


def test_zygote_that_crashes_during_preload_is_not_started_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that crashes on import must not affect models that do not need it, nor take the processor."""
    (tmp_path / "crashes.py").write_text(f"import os\nopen({str(tmp_path / 'starts')!r}, 'a').write('x'); os.abort()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    stage = Stage(tmp_path, POLYHOST_PRELOAD="crashes", POLYHOST_ZYGOTES=BARE)
    for _ in range(3):
        sequence = stage.fork(BARE)
        stage.run()
        assert stage.events[-2:] == [("started", sequence), ("exited", sequence)]
    stage.loop.after(2.0, lambda: stage.loop.stop(0))
    stage.run()

    assert (tmp_path / "starts").read_text() == "xx"
    stage.close()


def test_pool_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = descriptors_of()
    stage = Stage(tmp_path)
    stage.fork(BARE)
    os.kill(stage.pool.pids()[BARE], signal.SIGKILL)
    stage.fork(BARE)
    stage.run()
    stage.close()
    stage.loop._selector.close()

    assert not opened_since(before)
