"""A process that settles its heap: what it makes afterwards lies among nothing that was there before."""

import ctypes
import subprocess
import sys
import textwrap

import pytest

HOLES = """
    import ctypes, sys
    from polyhost.container.prefork import heap

    old = [bytes(size) for size in (40, 400) for _ in range(2_000)]
    del old[::2]
    blocks = [bytearray(size) for size in (1_000, 5_000, 50_000) for _ in range(200)]
    del blocks[::2]

    def address(block):
        return ctypes.addressof(ctypes.c_char.from_buffer(block))

    if "settle" in sys.argv:
        heap.settle()
    pools = {id(item) >> 14 for item in old}
    end_of_old = max(map(address, blocks))
    new = [bytes(size) for size in (41, 401) for _ in range(1_000)]
    new_blocks = [bytearray(size) for size in (1_000, 5_000, 50_000)]
    print(sum(id(item) >> 14 in pools for item in new), sum(address(block) < end_of_old for block in new_blocks))
"""


def among_the_old(*arguments: str) -> list[int]:
    """How many of the new objects, and of the new blocks, lie among the old ones."""
    command = [sys.executable, "-c", textwrap.dedent(HOLES), *arguments]
    return [int(word) for word in subprocess.run(command, capture_output=True, check=True).stdout.split()]


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="malloc does not tell what it has")
def test_what_is_new_fills_no_hole_among_what_is_old() -> None:
    objects, blocks = among_the_old()
    assert objects > 1_000 and blocks > 0

    assert among_the_old("settle") == [0, 0]


def test_it_ends_with_another_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONMALLOC", "malloc")

    assert len(among_the_old("settle")) == 2
