"""A little of scripts/fuzz with a fixed seed: enough to notice what every such input would break."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.archives import ArchiveSubject
from tests.fuzz.bodies import BodySubject
from tests.fuzz.control import ControlSubject
from tests.fuzz.http_subject import HttpSubject
from tests.fuzz.runner import Case, FindingError, Findings, Limit, Subject, case_of, fuzz, smallest
from tests.fuzz.state import StateSubject
from tests.support.container import ContainerProcess, running

SEED = 1


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerProcess]:
    pytest.importorskip("sklearn")
    with running(tmp_path_factory.mktemp("native"), "native", POLYHOST_ZYGOTES="sklearn") as container:
        yield container


@pytest.fixture(scope="module")
def mms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerProcess]:
    with running(tmp_path_factory.mktemp("mms"), "mms", POLYHOST_ZYGOTES="bare") as container:
        yield container


def assert_nothing_found(subject: Subject, cases: int, tmp_path: Path) -> None:
    findings = Findings(tmp_path / "findings", SEED)
    assert fuzz(subject, findings, Limit(cases)) == cases
    assert not findings.messages, "\n".join(findings.messages)


def test_http_of_the_native_front_end(native: ContainerProcess, tmp_path: Path) -> None:
    assert_nothing_found(HttpSubject(native), 600, tmp_path)


def test_http_of_mms(mms: ContainerProcess, tmp_path: Path) -> None:
    assert_nothing_found(HttpSubject(mms), 200, tmp_path)


def test_bodies(native: ContainerProcess, tmp_path: Path) -> None:
    assert_nothing_found(BodySubject(native, ["sklearn"]), 1500, tmp_path)


def test_archives(tmp_path: Path) -> None:
    with closing(ArchiveSubject()) as subject:
        assert_nothing_found(subject, 100, tmp_path)


def test_racing_control_calls(tmp_path: Path) -> None:
    with closing(ControlSubject()) as subject:
        assert_nothing_found(subject, 5, tmp_path)


def test_kills_in_the_middle_of_saves(tmp_path: Path) -> None:
    with closing(StateSubject()) as subject:
        assert_nothing_found(subject, 6, tmp_path)


# The tool itself


def test_case_is_the_same_whenever_it_is_made() -> None:
    with closing(ArchiveSubject()) as subject:
        assert case_of(subject, 3, 7) == case_of(subject, 3, 7) != case_of(subject, 3, 8)


def test_smallest_input_is_what_still_fails() -> None:
    assert smallest(b"a long input with one \0 in it", lambda data: b"\0" in data) == b"\0"


class Numbers:
    """Its cases have the bytes 1, 2, 3 and so on in them. It fails for 5, and stops working at 15."""

    name, check_every, shrinks = "numbers", 10, True

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.broken = False

    def new_case(self, chance: Random) -> Case:
        self.counts["made"] += 1
        return Case(b"some" + bytes([self.counts["made"]]) + b"thing")

    def attempt(self, case: Case) -> None:
        self.broken |= b"\x0f" in case.data
        if b"\x05" in case.data:
            raise FindingError("a five")

    def check(self) -> None:
        if self.broken:
            raise FindingError("it has stopped")

    def finish(self) -> None: ...


def test_findings_are_written_with_their_smallest_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    findings = Findings(tmp_path, 3)
    assert fuzz(Numbers(), findings, Limit(100)) == 20  # the check after the second ten fails
    assert (tmp_path / "numbers-3-4.input").read_bytes() == b"\x05"
    assert "scripts/fuzz --only numbers --seed 3 --first 4 --cases 1" in capsys.readouterr().out
    assert len(findings.messages) == 1 + 10
