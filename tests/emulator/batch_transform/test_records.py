"""Objects split into records."""

import gzip
import io
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhost.emulator.batch_transform.failures import TransformError
from polyhost.emulator.batch_transform.records import open_object, read_records, unpack_object
from polyhost.emulator.batch_transform.spec import SplitType

MAGIC = 0xCED7230A


def record_io(data: bytes, part: int = 0) -> bytes:
    return struct.pack("<II", MAGIC, part << 29 | len(data)) + data + b"\0" * (-len(data) % 4)


def tf_record(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + b"crc1" + data + b"crc2"


def read(content: bytes, split: SplitType, limit: int | None = 1000) -> list[tuple[bytes, bytes]]:
    return [(record.data, record.framed) for record in read_records(io.BytesIO(content), split, limit)]


@pytest.mark.parametrize(
    ("content", "records"),
    [
        (b"", []),
        (b"a\nb\n", [b"a", b"b"]),
        (b"a\nb", [b"a", b"b"]),
        (b"a\r\nb\r\n", [b"a\r", b"b\r"]),
        (b"a\n\nb\n\n", [b"a", b"", b"b", b""]),
    ],
)
def test_lines(content: bytes, records: list[bytes]) -> None:
    assert read(content, SplitType.LINE) == [(record, record) for record in records]


def test_without_split_the_object_is_one_record() -> None:
    assert read(b"a\nb", SplitType.NONE) == [(b"a\nb", b"a\nb")]
    assert read(b"", SplitType.NONE) == [(b"", b"")]


@given(st.lists(st.binary(max_size=50)))
def test_binary_records_are_found_with_and_without_their_frames(contents: list[bytes]) -> None:
    for split, frame in ((SplitType.RECORD_IO, record_io), (SplitType.TF_RECORD, tf_record)):
        framed = [frame(data) for data in contents]
        assert read(b"".join(framed), split) == list(zip(contents, framed, strict=True))


def test_a_record_with_the_magic_number_in_it_comes_in_parts() -> None:
    magic = struct.pack("<I", MAGIC)
    parts = record_io(b"abcd", 1) + record_io(b"efgh", 2) + record_io(b"ij", 3)
    assert read(parts, SplitType.RECORD_IO) == [(b"abcd" + magic + b"efgh" + magic + b"ij", parts)]
    with pytest.raises(TransformError, match="ends in the middle of record 1"):
        read(record_io(b"abcd", 1), SplitType.RECORD_IO)


@pytest.mark.parametrize(
    ("split", "content", "words"),
    [
        (
            SplitType.RECORD_IO,
            record_io(b"a") + b"no record",
            "record 2 is not in the format RecordIO; correct SplitType",
        ),
        (SplitType.RECORD_IO, record_io(b"abcd")[:-1], "ends in the middle of record 1"),
        (SplitType.RECORD_IO, record_io(b"abcd") + b"\x0a", "ends in the middle of record 2"),
        (SplitType.TF_RECORD, tf_record(b"abcd")[:-1], "ends in the middle of record 1"),
        (SplitType.TF_RECORD, tf_record(b"") + b"\0", "ends in the middle of record 2"),
        (SplitType.TF_RECORD, b"\xff" * 20, "Too much data for max payload size: record 1 has 18446744073709551631"),
    ],
)
def test_broken_objects(split: SplitType, content: bytes, words: str) -> None:
    with pytest.raises(TransformError, match=words):
        read(content, split)


@pytest.mark.parametrize(
    ("split", "fits", "does_not"),
    [
        (SplitType.NONE, b"x" * 100, b"x" * 101),
        (SplitType.LINE, b"x" * 100 + b"\n" + b"y" * 100, b"x\n" + b"y" * 101 + b"\n"),
        (SplitType.RECORD_IO, record_io(b"x" * 92), record_io(b"x" * 93)),
        (SplitType.TF_RECORD, tf_record(b"x" * 84), tf_record(b"x" * 85)),
    ],
)
def test_a_record_larger_than_a_payload(split: SplitType, fits: bytes, does_not: bytes) -> None:
    assert read(fits, split, 100)
    assert read(does_not, split, None)
    with pytest.raises(
        TransformError, match=r"Too much data for max payload size: .* MaxPayloadInMB allows 100; raise it"
    ):
        read(does_not, split, 100)


def test_compressed_objects(tmp_path: Path) -> None:
    path, unpacked = tmp_path / "object", tmp_path / "unpacked"
    path.write_bytes(gzip.compress(b"a\n") + gzip.compress(b"b\n"))
    with open_object(path, compressed=True) as file:
        assert [record.data for record in read_records(file, SplitType.LINE, 100)] == [b"a", b"b"]
    unpack_object(path, unpacked)
    assert unpacked.read_bytes() == b"a\nb\n"
    for broken in (b"a,b\n1,2\n", gzip.compress(b"x" * 10_000)[:-20]):
        path.write_bytes(broken)
        with open_object(path, compressed=True) as file, pytest.raises(TransformError, match="not complete gzip"):
            list(read_records(file, SplitType.LINE, 100_000))
        with pytest.raises(TransformError, match="correct it, or CompressionType"):
            unpack_object(path, unpacked)
