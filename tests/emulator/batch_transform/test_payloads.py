"""Records put together to requests."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyhost.emulator.batch_transform.failures import TransformError
from polyhost.emulator.batch_transform.payloads import Payload, make_payloads
from polyhost.emulator.batch_transform.records import Record
from polyhost.emulator.batch_transform.spec import MB, BatchStrategy, Parameters, SplitType

MULTI, SINGLE = BatchStrategy.MULTI_RECORD, BatchStrategy.SINGLE_RECORD


def records(*contents: bytes, frame: bytes = b"") -> Iterator[Record]:
    return (Record(data, frame + data) for data in contents)


def payloads(
    *contents: bytes,
    split: SplitType = SplitType.LINE,
    strategy: BatchStrategy = MULTI,
    frame: bytes = b"",
    mb: int = 1,
) -> list[Payload]:
    return list(make_payloads(records(*contents, frame=frame), split, Parameters(1, mb, strategy), None))


def test_several_records_are_separated_as_in_the_object() -> None:
    assert payloads(b"a", b"b") == [Payload(b"a\nb", [b"a", b"b"])]
    assert payloads(b"a", b"b", split=SplitType.TF_RECORD, frame=b"=") == [Payload(b"=a=b", [b"a", b"b"])]


def test_a_single_record_has_no_frame() -> None:
    for split in (SplitType.LINE, SplitType.RECORD_IO):
        found = payloads(b"a", b"b", split=split, strategy=SINGLE, frame=b"=")
        assert found == [Payload(b"a", [b"a"]), Payload(b"b", [b"b"])]
    assert payloads(b"a\nb", split=SplitType.NONE) == [Payload(b"a\nb", [b"a\nb"])]
    assert payloads() == []


def test_payloads_are_as_full_as_the_limit_allows() -> None:
    half = b"x" * (MB // 2)
    assert [len(item.body) for item in payloads(half, half[:-1], half, b"y")] == [MB, MB // 2 + 2]
    assert [item.count for item in payloads(half, half, half)] == [1, 1, 1]  # two and their newline are too much
    assert [item.count for item in payloads(half, half, half, split=SplitType.RECORD_IO)] == [2, 1]
    assert [item.count for item in payloads(half, half, half, mb=0)] == [3]


@given(st.lists(st.binary(max_size=40).map(lambda data: data.replace(b"\n", b" ")), max_size=30))
def test_nothing_is_lost_or_moved(contents: list[bytes]) -> None:
    for strategy in BatchStrategy:
        found = payloads(*contents, strategy=strategy)
        assert [data for item in found for data in item.originals] == contents
        assert [line for item in found for line in item.body.split(b"\n")] == contents


def test_filtered_records_count_as_they_are_sent() -> None:
    def prepare(data: bytes) -> bytes:
        return data * (MB // 2)

    found = list(make_payloads(records(b"a", b"b", b"c"), SplitType.LINE, Parameters(1, 1, MULTI), prepare))
    assert [item.originals for item in found] == [[b"a"], [b"b"], [b"c"]]
    with pytest.raises(TransformError, match="a filtered record has 1572864 bytes"):
        list(make_payloads(records(b"abc"), SplitType.LINE, Parameters(1, 1, MULTI), prepare))
