"""Which loads are admitted, and which workers are measured."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from polyhost.container.config import Config
from polyhost.container.memory import admission
from polyhost.container.memory.admission import AdmissionControl, decide, default_reserve
from polyhost.container.memory.fingerprints import Fingerprint
from polyhost.container.memory.gauge import MemoryGauge, MemoryState

MB = 1024 * 1024


MODEL = Fingerprint("sklearn", "key", 10 * MB)


@dataclass
class Worker:
    pid: int | None
    smaps: int | None = None
    early: bool = False
    fingerprint: Fingerprint = MODEL
    due_for_measuring: bool = True

    def on_measured(self) -> None:
        self.due_for_measuring = False


@pytest.fixture
def control(tmp_path: Path) -> AdmissionControl:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal: {2048 * 1024} kB\nMemAvailable: {1024 * 1024} kB\n")
    state_dir = str(tmp_path / "state")
    environ = {"POLYHOST_STATE_DIR": state_dir, "POLYHOST_MEMORY_RESERVE_MB": "24"}
    return AdmissionControl(MemoryGauge(None, meminfo=meminfo), Config.from_environ(environ))


@pytest.mark.parametrize(("need", "fits"), [(50, True), (60, True), (61, False)])
def test_a_model_fits_beside_the_reserve_and_the_loads_in_progress(need: int, fits: bool) -> None:
    admission = decide(need * MB, MemoryState(200 * MB, 100 * MB), 20 * MB, [5 * MB, 15 * MB])

    assert (admission.fits, admission.free) == (fits, 60 * MB)


def test_a_rejection_names_need_free_memory_and_remedy() -> None:
    admission = decide(300 * MB, MemoryState(512 * MB, 10 * MB), 96 * MB, [])

    assert str(admission) == (
        "not enough memory for the model: it needs about 300 MB, but 0 MB of 512 MB are free;"
        " unload models or raise the container's memory"
    )


def test_a_zygote_that_starts_first_is_counted(control: AdmissionControl) -> None:
    room = control.decide(MODEL, []).free
    admission = control.decide(MODEL, [], zygotes=room)

    assert (admission.fits, admission.free) == (False, 0)
    assert f"0 MB of 2048 MB are free beside {room // MB} MB for its framework's imports;" in str(admission)


def test_the_default_reserve_grows_with_the_limit() -> None:
    assert default_reserve(256 * MB) < default_reserve(16384 * MB) == int(0.05 * 16384 * MB)


def test_the_setting_replaces_the_default_reserve(control: AdmissionControl) -> None:
    assert control.decide(MODEL, [100 * MB]).free == 900 * MB


def test_a_worker_is_measured_once_and_its_model_admitted_by_the_measurement(control: AdmissionControl) -> None:
    worker = Worker(os.getpid())

    ((measured, need),) = control.measure([worker])

    assert measured is worker
    assert control.decide(MODEL, []).need == need > MB
    assert control.measure([worker]) == []


def test_what_an_early_worker_takes_counts_until_another_is_measured(
    control: AdmissionControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = iter((29 * MB, 30 * MB, 8 * MB, 31 * MB))
    monkeypatch.setattr(admission, "private_bytes", lambda pid, smaps: next(sizes))

    measured = []
    for early in (True, True, False, True):  # an early worker after its load, and after its first request
        ((_, size),) = control.measure([Worker(os.getpid(), early=early)])
        measured.append((size, control.decide(MODEL, []).need))

    assert measured == [(29 * MB, 29 * MB), (30 * MB, 30 * MB), (8 * MB, 8 * MB), (31 * MB, 8 * MB)]


def test_workers_that_have_ended_or_have_no_process_yet_are_not_measured(control: AdmissionControl) -> None:
    ended = os.fork()
    if ended == 0:
        os._exit(0)
    os.waitpid(ended, 0)

    assert control.measure([Worker(None), Worker(ended)]) == []


def test_measurements_are_saved_when_no_worker_is_due(control: AdmissionControl, tmp_path: Path) -> None:
    control.measure([Worker(os.getpid())])
    assert not (tmp_path / "state").exists()

    control.measure([])

    assert [path.name for path in (tmp_path / "state").iterdir()] == ["estimates.json"]
