"""Whether a model fits: guesses before it was ever loaded, knowledge afterwards."""

import json
import mmap
import os
from pathlib import Path

import pytest

from polyhost.container.memory.cgroup import MemoryState
from polyhost.container.memory.estimates import Estimates, default_reserve, judge, private_bytes

MB = 1024 * 1024


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "one", 10 * MB)


def make_model(directory: Path, size: int, name: str = "model.bin") -> Path:
    (directory / "code").mkdir(parents=True)
    (directory / "code" / "inference.py").write_text("x" * 100)
    with (directory / name).open("wb") as file:
        file.truncate(size)
    return directory


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "state" / "estimates.json"


@pytest.mark.parametrize(("need", "fits"), [(50, True), (60, True), (61, False)])
def test_a_model_fits_where_reserve_and_loads_under_way_leave_room(need: int, fits: bool) -> None:
    verdict = judge(need * MB, MemoryState(200 * MB, 100 * MB), 20 * MB, [5 * MB, 15 * MB])

    assert (verdict.fits, verdict.free) == (fits, 60 * MB)


def test_a_refusal_says_need_room_and_remedy() -> None:
    verdict = judge(300 * MB, MemoryState(512 * MB, 10 * MB), 96 * MB, [])

    assert str(verdict) == (
        "not enough memory for the model: it needs about 300 MB, 0 MB are free of 512 MB;"
        " unload models or raise the container's memory"
    )


def test_the_reserve_grows_with_the_limit() -> None:
    assert default_reserve(256 * MB) < default_reserve(16384 * MB) == int(0.05 * 16384 * MB)


def test_an_unknown_model_is_guessed_by_its_files(model: Path, tmp_path: Path, kept: Path) -> None:
    estimates = Estimates(kept)
    bigger = make_model(tmp_path / "bigger", 20 * MB)

    assert estimates.need("torch", model) > 10 * MB
    assert estimates.need("torch", bigger) - estimates.need("torch", model) == 20 * MB
    assert estimates.need("sklearn", bigger) - estimates.need("sklearn", model) == 30 * MB
    assert estimates.need("bare", tmp_path / "missing") > 0


def test_a_known_model_is_known_by_its_files_wherever_they_lie(model: Path, tmp_path: Path, kept: Path) -> None:
    estimates = Estimates(kept)
    copy = make_model(tmp_path / "copy", 10 * MB)
    estimates.learn("torch", model, 77 * MB)

    assert estimates.need("torch", copy) == 77 * MB
    assert estimates.need("sklearn", copy) != 77 * MB
    assert estimates.need("torch", make_model(tmp_path / "renamed", 10 * MB, "other.bin")) != 77 * MB


def test_the_most_that_a_model_took_is_kept(model: Path, kept: Path) -> None:
    estimates = Estimates(kept)
    for took in (30 * MB, 50 * MB, 40 * MB):
        estimates.learn("torch", model, took)

    assert estimates.need("torch", model) == 50 * MB


def test_enough_copies_of_a_model_teach_what_the_next_would(model: Path, kept: Path, tmp_path: Path) -> None:
    estimates = Estimates(kept)
    estimates.learn("torch", model, 77 * MB)
    assert not estimates.settled("torch", model)
    for _ in range(7):
        estimates.learn("torch", model, 77 * MB)

    assert estimates.settled("torch", make_model(tmp_path / "copy", 10 * MB))
    assert not estimates.settled("torch", make_model(tmp_path / "other", 11 * MB))
    assert not Estimates(kept).settled("torch", model)


def test_knowledge_survives_a_restart(model: Path, kept: Path) -> None:
    estimates = Estimates(kept)
    estimates.learn("torch", model, 77 * MB)
    estimates.save()

    assert Estimates(kept).need("torch", model) == 77 * MB
    assert [path.name for path in kept.parent.iterdir()] == ["estimates.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": "much"}', "null", '{"a": null}'])
def test_a_file_that_cannot_be_understood_is_as_good_as_none(model: Path, kept: Path, text: str) -> None:
    kept.parent.mkdir()
    kept.write_text(text)
    estimates = Estimates(kept)
    estimates.learn("torch", model, 77 * MB)
    estimates.save()

    assert list(json.loads(kept.read_text()).values()) == [77 * MB]


def test_a_place_that_cannot_be_written_is_told_once(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    estimates = Estimates(tmp_path / "file" / "estimates.json")
    for took in (1 * MB, 2 * MB):
        estimates.learn("torch", model, took)
        estimates.save()

    assert len(caplog.records) == 1
    assert str(tmp_path / "file") in caplog.text
    assert estimates.need("torch", model) == 2 * MB


def test_private_memory_is_what_only_this_process_holds() -> None:
    before = private_bytes(os.getpid())
    with mmap.mmap(-1, 32 * MB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as pages:
        for offset in range(0, len(pages), mmap.PAGESIZE):
            pages[offset] = 1
        grown = private_bytes(os.getpid()) - before

    assert 32 * MB <= grown < 64 * MB


def test_an_ended_process_has_no_memory_to_tell_of() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)

    with pytest.raises(OSError):
        private_bytes(pid)
