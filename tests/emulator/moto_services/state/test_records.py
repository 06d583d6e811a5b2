"""Records: all of an update or nothing, in the order of creation, by the format and the moto that wrote them."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyhost.emulator.errors import StartError
from polyhost.emulator.moto_services.state.records import Change, Records


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "services.sqlite"


@pytest.fixture
def records(path: Path) -> Iterator[Records]:
    made = Records(path)
    yield made
    made.close()


def _again(path: Path, kind: str) -> list[tuple[tuple[str, ...], bytes]]:
    records = Records(path)
    try:
        return list(records.load(kind))
    finally:
        records.close()


def test_records_are_loaded_in_the_order_in_which_they_were_created(records: Records, path: Path) -> None:
    for name in ("b", "c", "a"):
        records.write([Change("message", ("queue", name), name.encode())])
    records.write([Change("message", ("queue", "b"), b"changed"), Change("other", ("b",), b"x")])
    records.write([Change("message", ("queue", "c"), None)])
    assert _again(path, "message") == [(("queue", "b"), b"changed"), (("queue", "a"), b"a")]


def test_a_record_that_was_removed_can_be_written_again(records: Records, path: Path) -> None:
    for content in (b"1", None, b"1", None, b"1"):
        records.write([Change("k", ("a",), content)])
    assert _again(path, "k") == [(("a",), b"1")]


def test_a_failed_update_leaves_nothing_and_can_be_repeated(records: Records, path: Path) -> None:
    records.write([Change("k", ("kept",), b"1")])
    impossible = Change("k", ("bad",), object())  # type: ignore[arg-type]
    with pytest.raises(sqlite3.Error):
        records.write([Change("k", ("kept",), b"2"), Change("k", ("new",), b"1"), impossible])
    assert _again(path, "k") == [(("kept",), b"1")]
    records.write([Change("k", ("kept",), b"2"), Change("k", ("new",), b"1")])
    assert _again(path, "k") == [(("kept",), b"2"), (("new",), b"1")]


@pytest.mark.parametrize("version", [99, -1])
def test_another_format_is_rejected_with_a_remedy(records: Records, path: Path, version: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    with pytest.raises(StartError, match=f"has format {version}, and this polyhost reads format 1; start the polyhost"):
        Records(path)


def test_what_another_moto_wrote_is_rejected_with_a_remedy(records: Records, path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE facts SET value = '1.2.3'")
    connection.commit()
    connection.close()
    with pytest.raises(StartError, match=r"was written with moto 1\.2\.3, .* choose another --state"):
        Records(path)
