"""The process that is started before there is an archive: used once, replaced when it was killed, never left behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from polyhost.archives import Extractor, InvalidArchiveError
from polyhost.extractor_process import StandbyExtractorProcess
from tests.support.container import ROOT
from tests.support.hostile_archives import gz, header
from tests.support.processes import is_alive
from tests.support.waiting import wait_for

LIMIT = 1 << 30
MAX_RSS = 24 << 20  # a Python with `tarfile`; half of it is shared


def children() -> list[psutil.Process]:
    return psutil.Process().children()


@pytest.fixture
def standby() -> Iterator[StandbyExtractorProcess]:
    before = children()
    standby = StandbyExtractorProcess()
    yield standby
    standby.close()
    assert children() == before


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "archive"
    path.write_bytes(gz(header("weights")))
    return path


def pid_of(standby: StandbyExtractorProcess) -> int:
    assert standby._process is not None
    return standby._process.pid


def test_the_next_archive_gets_it(standby: StandbyExtractorProcess, archive: Path, tmp_path: Path) -> None:
    standby.prepare()
    pid = pid_of(standby)
    standby.prepare()
    assert pid_of(standby) == pid
    with Extractor(standby=standby) as extractor:
        assert extractor._started.pid == pid
        assert extractor.unpack(archive, tmp_path, LIMIT) == 0
    assert (tmp_path / "weights").exists()


def test_it_is_used_once(standby: StandbyExtractorProcess, archive: Path, tmp_path: Path) -> None:
    standby.prepare()
    pid = pid_of(standby)
    with Extractor(standby=standby) as first, Extractor(standby=standby) as second:
        assert first._started.pid == pid != second._started.pid
        assert [extractor.unpack(archive, tmp_path, LIMIT) for extractor in (first, second)] == [0, 0]
    standby.prepare()
    assert pid_of(standby) not in (pid, second._started.pid)


def test_one_that_was_killed_is_replaced(standby: StandbyExtractorProcess, archive: Path, tmp_path: Path) -> None:
    standby.prepare()
    pid = pid_of(standby)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(psutil.Process(pid)), "the process has ended")
    with Extractor(standby=standby) as extractor:
        assert extractor.unpack(archive, tmp_path, LIMIT) == 0


def test_it_gets_the_limits_of_its_archive(standby: StandbyExtractorProcess, tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(gz(header("weights", size=5)))
    standby.prepare()
    with Extractor(standby=standby) as extractor, pytest.raises(InvalidArchiveError, match="larger than 4 bytes"):
        extractor.unpack(tmp_path / "archive", tmp_path, 4)


def test_none_starts_after_the_end(standby: StandbyExtractorProcess) -> None:
    before = children()
    standby.close()
    standby.prepare()
    assert children() == before


def test_it_takes_little_memory(standby: StandbyExtractorProcess) -> None:
    standby.prepare()
    process = psutil.Process(pid_of(standby))
    wait_for(lambda: process.status() == psutil.STATUS_SLEEPING, "it waits")
    assert 0 < process.memory_info().rss < MAX_RSS


MODEL = """
import ctypes
from polyhost.container.isolation.capabilities import drop_capabilities
from polyhost.extractor_process import StandbyExtractorProcess
from tests.support.waiting import wait_for
def is_closed():
    try:
        open(f"/proc/{standby._process.pid}/fd/0", "wb").close()
    except PermissionError:
        return True
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
drop_capabilities()
standby = StandbyExtractorProcess()
standby.prepare()
wait_for(is_closed, "it is closed to others")
standby.close()
"""


def test_no_process_of_its_user_can_give_it_a_job() -> None:
    """Both without capabilities, as in a container of a plain user: one with more is closed to one with fewer."""
    subprocess.run([sys.executable, "-c", MODEL], cwd=ROOT, timeout=240, check=True)


PARENT = """
import sys, time
from polyhost.extractor_process import StandbyExtractorProcess
standby = StandbyExtractorProcess()
standby.prepare()
print(standby._process.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_does_not_outlive_its_parent(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        process = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(number)
        wait_for(lambda: not is_alive(process), "the process that waits for an archive has ended")
