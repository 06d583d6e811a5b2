"""How much memory is left, and how much a process holds."""

import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from polyhost.cgroup import ControlGroup
from polyhost.container.memory.gauge import MemoryGauge, MemoryState, private_bytes
from tests.support.container import ROOT
from tests.test_cgroup import version_2

MB = 1024 * 1024


@pytest.fixture
def meminfo(tmp_path: Path) -> Path:
    path = tmp_path / "meminfo"
    path.write_text("MemTotal:        4096000 kB\nMemFree:  1 kB\nMemAvailable:    2048000 kB\nHugePages_Total:  0\n")
    return path


def test_the_tighter_of_machine_and_group_counts(tmp_path: Path, meminfo: Path) -> None:
    machine = MemoryGauge(None, meminfo=meminfo).read()
    group = MemoryGauge(ControlGroup(version_2(tmp_path), 2), meminfo=meminfo).read()

    assert machine == MemoryState(4096000 * 1024, 2048000 * 1024)
    assert group == MemoryState(100 * MB, 70 * MB)


def test_nothing_is_available_in_a_group_above_its_limit(tmp_path: Path, meminfo: Path) -> None:
    assert MemoryGauge(ControlGroup(version_2(tmp_path, 20 * MB), 2), meminfo=meminfo).read().available == 0


def test_kills_are_the_groups(tmp_path: Path, meminfo: Path) -> None:
    assert MemoryGauge(None, meminfo=meminfo).oom_kills() == 0
    assert MemoryGauge(ControlGroup(version_2(tmp_path), 2), meminfo=meminfo).oom_kills() == 2


def test_reads_this_machine() -> None:
    state = MemoryGauge(ControlGroup.current()).read()

    assert 0 < state.available <= state.limit


def test_private_memory_is_what_only_this_process_holds() -> None:
    """In a process of its own: here threads and objects of earlier tests may free memory meanwhile."""
    code = f"import {__name__} as test; print(test.grown_by_a_private_mapping())"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, check=True)

    assert 32 * MB <= int(found.stdout) < 64 * MB


def grown_by_a_private_mapping() -> int:
    before = private_bytes(os.getpid())
    with mmap.mmap(-1, 32 * MB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as pages:
        for offset in range(0, len(pages), mmap.PAGESIZE):
            pages[offset] = 1
        return private_bytes(os.getpid()) - before


def test_measuring_an_ended_process_raises_os_error() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)

    with pytest.raises(OSError):
        private_bytes(pid)
