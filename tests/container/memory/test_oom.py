"""Which errors report a lack of memory, and which only mention it."""

import errno

import pytest

from polyhost.container.memory.oom import OomKills, is_out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("Check failed: e == cudaSuccess: cudaErrorMemoryAllocation"),
        RuntimeError("src/storage/./cpu_device_storage.h:75: Failed to allocate CPU Memory"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("Unable to allocate 7.45 GiB for an array with shape (1000000000,)"),
    ],
    ids=str,
)
def test_a_lack_of_memory_is_recognised(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("the column 'out of memory' is unknown"),
        KeyError("memory allocation"),
        RuntimeError("shapes (2,3) and (4,5) do not fit"),
        OSError(errno.ENOENT, "No such file or directory"),
    ],
    ids=str,
)
def test_other_errors_that_mention_memory_are_not(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_the_cause_counts_but_not_the_context() -> None:
    caused, followed = ValueError("cannot load"), ValueError("cannot load")
    caused.__cause__ = MemoryError()
    followed.__context__ = MemoryError()

    assert is_out_of_memory(caused)
    assert not is_out_of_memory(followed)


def test_numpys_allocation_error_is_recognised() -> None:
    numpy = pytest.importorskip("numpy")

    with pytest.raises(MemoryError) as caught:
        numpy.empty(1 << 60, dtype="u1")

    assert is_out_of_memory(caught.value)


def test_each_kill_is_attributed_once_and_an_old_one_to_no_worker() -> None:
    count = 3
    kills = OomKills(lambda: count)
    assert not kills.attribute()

    count = 5
    assert [kills.attribute(), kills.attribute(), kills.attribute()] == [True, True, False]

    count = 6
    kills.expire()
    assert kills.attribute()
    count = 7
    kills.expire()
    kills.expire()
    assert not kills.attribute()
