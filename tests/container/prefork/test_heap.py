"""The heap of a process after `settle`: new objects lie apart from old ones."""

import ctypes
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from polyhost.container.prefork import heap
from polyhost.container.system import malloc

HOLES = """
    import ctypes, sys
    from polyhost.container.prefork import heap

    old = [bytes(size) for size in (40, 400) for _ in range(2_000)]
    del old[::2]
    blocks = [bytearray(size) for size in (1_000, 5_000, 50_000) for _ in range(200)]
    del blocks[::2]

    def address(block):
        return ctypes.addressof(ctypes.c_char.from_buffer(block))

    if len(sys.argv) > 1:
        heap.settle(fill=sys.argv[1] == "fill")
    pools = {id(item) >> 14 for item in old}
    end_of_old = max(map(address, blocks))
    new = [bytes(size) for size in (41, 401) for _ in range(1_000)]
    new_blocks = [bytearray(size) for size in (1_000, 5_000, 50_000)]
    print(sum(id(item) >> 14 in pools for item in new), sum(address(block) < end_of_old for block in new_blocks))
"""


def among_the_old(*arguments: str) -> list[int]:
    """Return how many new objects, and how many new blocks, lie among old ones."""
    command = [sys.executable, "-c", textwrap.dedent(HOLES), *arguments]
    return [int(word) for word in subprocess.run(command, capture_output=True, check=True).stdout.split()]


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33")
@pytest.mark.skipif(not heap.knows_pools(), reason="the layout of this Python's pools is not known")
def test_a_settled_heap_reuses_no_free_blocks() -> None:
    objects, blocks = among_the_old()
    assert objects > 1_000 and blocks > 0

    assert among_the_old("fill") == [0, 0]


def test_holes_are_not_filled_where_that_is_switched_off() -> None:
    objects, _ = among_the_old("no fill")

    assert objects > 1_000


def test_settle_ends_with_another_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONMALLOC", "malloc")

    assert len(among_the_old("fill")) == 2


@pytest.fixture
def allocations(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Record the sizes of allocations for filling, and allocate nothing."""
    sizes: list[int] = []

    def allocate(size: int) -> int:
        sizes.append(size)
        return 0

    monkeypatch.setattr(ctypes.pythonapi, "PyObject_Malloc", allocate, raising=False)
    monkeypatch.setattr(heap, "_MAX_FILL_BYTES", 1 << 10)
    yield sizes


@pytest.mark.parametrize(
    ("version", "free_threaded", "filled"),
    [
        ((3, 11, 0), 0, True), ((3, 12, 1), None, True), ((3, 13, 9), 0, True),
        ((3, 13, 0), 1, False), ((3, 14, 0), 0, False), ((3, 10, 0), 0, False),
    ],
)  # fmt: skip
def test_pools_are_filled_only_where_their_layout_is_known(
    allocations: list[int],
    monkeypatch: pytest.MonkeyPatch,
    version: tuple[int, int, int],
    free_threaded: int | None,
    filled: bool,
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setattr("sysconfig.get_config_var", lambda name: free_threaded)

    heap._fill_pools()

    assert bool(allocations) is filled


def test_nothing_is_filled_without_mallinfo2(monkeypatch: pytest.MonkeyPatch) -> None:
    class OldLibrary:
        def malloc(self, size: int) -> int:
            raise AssertionError("malloc was called")

    monkeypatch.setattr(ctypes, "CDLL", lambda name: OldLibrary())

    heap._fill_heap()
    malloc.trim()
