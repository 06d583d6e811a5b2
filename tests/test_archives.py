"""Unpacking in a process of its own: the same answer for all who unpack, and nothing left behind."""

import asyncio
import gzip
import os
import random
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from polyhost import archives
from polyhost.archives import Extractor, InvalidArchiveError
from polyhost.cli import archive as cli
from polyhost.cli.archive import ArchiveError
from polyhost.handlers.errors import BadSettingError
from polyhost.handlers.script import submitted_code
from polyhost.handlers.settings import Settings
from polyhost.model_cache.downloads import ModelSource
from polyhost.model_cache.errors import ModelDataInvalidError
from polyhost.model_cache.model_url import ModelData
from tests.model_cache.stand_ins import MemoryStore
from tests.support.hostile_archives import ARCHIVES, busy, gz, header, special
from tests.support.processes import is_running
from tests.support.waiting import wait_for

LIMIT = 1 << 30


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the file of one of the archives."""
    folder = tmp_path_factory.mktemp("hostile")

    def make(name: str) -> Path:
        path = folder / f"{name.replace(' ', '-')}.tar.gz"
        if not path.exists():
            path.write_bytes(ARCHIVES[name].make())
        return path

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    return tmp_path / "model"


def children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = children()
    yield
    wait_for(lambda: children() == before, "no child is left")


@pytest.mark.parametrize("name", ARCHIVES)
def test_each_is_rejected_with_the_reason(name: str, hostile: Callable[[str], Path], folder: Path) -> None:
    with pytest.raises(InvalidArchiveError, match=ARCHIVES[name].reason):
        archives.unpack(hostile(name), folder, LIMIT)
    assert not (folder.parent / "escape").exists()


def by_check(path: Path, folder: Path) -> None:
    cli.unpack(path, folder)


def by_the_emulator(path: Path, folder: Path) -> None:
    store = MemoryStore(**{path.name: path.read_bytes()})
    data = ModelData("models", path.name)

    async def fetch() -> None:
        await ModelSource(lambda region: store).fetch(data, folder / "KEY" / "model", LIMIT, 600, "us-east-1")

    try:
        asyncio.run(fetch())
    finally:
        assert list((folder / "KEY").iterdir()) == []


def by_the_container(path: Path, folder: Path) -> None:
    settings = Settings.from_environ({"SAGEMAKER_SUBMIT_DIRECTORY": str(path), "SAGEMAKER_PROGRAM": "train.py"})
    submitted_code.prepare(settings, "/opt/ml", folder / "code")


USERS: dict[str, tuple[Callable[[Path, Path], None], type[Exception]]] = {
    "polyhost check": (by_check, ArchiveError),
    "the emulator": (by_the_emulator, ModelDataInvalidError),
    "submitted code": (by_the_container, BadSettingError),
}
# Those of which another answer was once given somewhere, and one of each kind.
FOR_ALL = [
    "truncated",
    "bad checksum",
    "bad length",
    "outside",
    "negative size",
    "pax header of 128 kB of digits",
    "name of 100 kB",
    "NUL in a name",
    "400 nested folders",
    "3,000 headers before a member",
    "invalid sparse map",
    "file below a file",
]


@pytest.mark.parametrize("name", FOR_ALL)
@pytest.mark.parametrize("user", USERS)
def test_all_who_unpack_give_the_same_answer(
    user: str, name: str, hostile: Callable[[str], Path], folder: Path
) -> None:
    unpack, error = USERS[user]
    path = hostile(name)
    with pytest.raises(error, match=f"{re.escape(path.name)}.*(?:{ARCHIVES[name].reason})"):
        unpack(path, folder)


@pytest.mark.slow
def test_the_headers_memory_is_limited(folder: Path, tmp_path: Path) -> None:
    """Global headers are kept, all of them."""
    with gzip.open(tmp_path / "archive", "wb", compresslevel=1) as file:
        for number in range(4500):
            file.write(special(tarfile.XGLTYPE, b"131000 comment.%04d=%s\n" % (number, b"x" * 130_979)) + header())
    patient = Extractor(min_seconds=3600)  # its memory is what ends it, on a busy machine, too
    with patient as extractor, pytest.raises(InvalidArchiveError, match="more than 512 MB of memory"):
        extractor.unpack(tmp_path / "archive", folder, LIMIT)


def endless(path: Path) -> Path:
    """Make a FIFO in place of the archive: opening it waits for a writer."""
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("make", [endless, busy])
def test_an_archive_that_takes_too_long_is_given_up(make: Callable[[Path], Path], folder: Path, tmp_path: Path) -> None:
    path = make(tmp_path / "archive")
    # The second by Pythons with the fix of CVE-2025-8194, at once.
    reasons = "not unpacked within 1 s|invalid header"
    with Extractor(min_seconds=1) as extractor, pytest.raises(InvalidArchiveError, match=reasons):
        extractor.unpack(path, folder, LIMIT)


@pytest.mark.parametrize("number", [signal.SIGXCPU, signal.SIGALRM])
def test_limits_of_the_kernel_are_told_as_what_they_are(number: int, folder: Path, tmp_path: Path) -> None:
    path = endless(tmp_path / "archive")
    with Extractor() as extractor:
        threading.Timer(0.1, partial(os.kill, extractor._started.pid, number)).start()
        with pytest.raises(InvalidArchiveError, match="not unpacked within 120 s"):
            extractor.unpack(path, folder, LIMIT)


def unpack_until_aborted(extractor: Extractor, path: Path, folder: Path, limit: int) -> None:
    with pytest.raises(InterruptedError):
        extractor.unpack(path, folder, limit)


def test_the_process_has_limits(folder: Path, tmp_path: Path) -> None:
    path = endless(tmp_path / "archive")
    with Extractor() as extractor:
        limits = Path(f"/proc/{extractor._started.pid}/limits")
        unpacking = threading.Thread(target=unpack_until_aborted, args=(extractor, path, folder, 12345))
        unpacking.start()
        wait_for(lambda: re.search(r"Max file size +12345 +12345", limits.read_text()), "limits are set")
        assert re.search(r"Max cpu time +120 +120 ", limits.read_text())
        assert re.search(rf"Max address space +{512 << 20} +{512 << 20} ", limits.read_text())
        extractor.abort()
        unpacking.join()


def test_an_abort_ends_it_at_once(folder: Path, tmp_path: Path) -> None:
    path = endless(tmp_path / "archive")
    with Extractor() as extractor:
        threading.Timer(0.1, extractor.abort).start()
        with pytest.raises(InterruptedError):
            extractor.unpack(path, folder, LIMIT)
    with pytest.raises(InterruptedError):
        extractor.__enter__()


def test_the_death_of_the_process_is_not_blamed_on_the_archive(folder: Path, tmp_path: Path) -> None:
    path = endless(tmp_path / "archive")
    with Extractor() as extractor:
        os.kill(extractor._started.pid, signal.SIGKILL)
        with pytest.raises(ChildProcessError, match="ended with signal 9"):
            extractor.unpack(path, folder, LIMIT)


def test_an_archive_is_unpacked_while_it_comes(folder: Path) -> None:
    content = random.Random(0).randbytes(1 << 19)
    archive = gz(header("first"), header("second", size=len(content)), content)

    def arriving() -> Iterator[bytes]:
        yield archive[: 1 << 18]
        wait_for((folder / "first").exists, "the first member is unpacked before the second has come")
        yield archive[1 << 18 :]

    with Extractor() as extractor:
        assert extractor.unpack_stream(arriving(), len(archive), folder, LIMIT, 600) == len(content)
    assert (folder / "second").read_bytes() == content


@pytest.mark.parametrize("name", FOR_ALL)
def test_a_stream_is_rejected_as_a_file_is(name: str, hostile: Callable[[str], Path], folder: Path) -> None:
    archive = hostile(name).read_bytes()
    with Extractor() as extractor, pytest.raises(InvalidArchiveError, match=ARCHIVES[name].reason):
        pieces = (archive[start : start + 1000] for start in range(0, len(archive), 1000))
        extractor.unpack_stream(pieces, len(archive), folder, LIMIT, 600)
    assert not (folder.parent / "escape").exists()


def test_no_more_of_an_invalid_archive_is_fetched(folder: Path) -> None:
    asked = []

    def endless_zeros() -> Iterator[bytes]:
        while True:
            asked.append(1)
            yield bytes(1 << 20)

    with Extractor() as extractor, pytest.raises(InvalidArchiveError, match="not a complete gzip-compressed tar"):
        extractor.unpack_stream(endless_zeros(), 1 << 30, folder, LIMIT, 600)
    assert asked


def test_a_stream_that_breaks_off_is_not_the_archives_fault(folder: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield gz(header())[:20]
        raise ConnectionError("the store is gone")

    with Extractor() as extractor, pytest.raises(ConnectionError, match="the store is gone"):
        extractor.unpack_stream(broken(), 100, folder, LIMIT, 600)


def test_an_abort_ends_a_stream(folder: Path) -> None:
    with Extractor() as extractor:

        def aborted() -> Iterator[bytes]:
            extractor.abort()
            while True:
                yield bytes(1 << 20)

        with pytest.raises(InterruptedError):
            extractor.unpack_stream(aborted(), 1 << 30, folder, LIMIT, 600)


def test_a_stream_that_comes_slowly_takes_none_of_the_time_to_unpack(folder: Path) -> None:
    with Extractor(min_seconds=1) as extractor:

        def slow() -> Iterator[bytes]:
            yield gz(header())[:20]
            time.sleep(2.5)
            assert extractor._started.poll() is None
            raise ConnectionError("slow, and then gone")

        with pytest.raises(ConnectionError):
            extractor.unpack_stream(slow(), 100, folder, LIMIT, 600)


PARENT = """
import sys
from pathlib import Path
from polyhost.archives import Extractor
with Extractor() as extractor:
    print(extractor._started.pid, flush=True)
    extractor.unpack(Path(sys.argv[1]), Path(sys.argv[2]), 1 << 30)
"""


def test_it_does_not_outlive_its_parent(folder: Path, tmp_path: Path) -> None:
    """Whether it waits or holds the interpreter."""
    path = busy(tmp_path / "archive")
    command = [sys.executable, "-c", PARENT, str(path), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_for(lambda: re.search(r"Max file size +\d+ ", limits_of(pid)), "the archive has been given to it")
        parent.kill()
        wait_for(lambda: not is_running(pid), "the process that unpacks has ended")


def limits_of(pid: int) -> str:
    return Path(f"/proc/{pid}/limits").read_text()


def test_any_path_will_do(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9 \n line")
    odd.mkdir()
    (odd / "a\nb").write_bytes(gz(header("x\ny")))
    assert archives.unpack(odd / "a\nb", odd, LIMIT) == 0
    assert (odd / "x\ny").exists()


def test_a_fault_of_the_disk_is_not_blamed_on_the_archive(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        archives.unpack(tmp_path / "missing", folder, LIMIT)
    (tmp_path / "archive").write_bytes(gz(header()))
    with pytest.raises(OSError, match="/proc"):  # no file system to write to
        archives.unpack(tmp_path / "archive", Path("/proc"), LIMIT)


def test_modules_of_the_working_directory_are_not_imported(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tarfile.py").write_text("raise SystemExit('imported')")
    (tmp_path / "archive").write_bytes(gz(header()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert archives.unpack(tmp_path / "archive", folder, LIMIT) == 0
