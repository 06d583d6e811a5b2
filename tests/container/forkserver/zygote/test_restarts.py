"""When a zygote is started again, and what counts as a shortage."""

import errno
import os

import pytest

from polyhost.container.forkserver.zygote.restarts import RestartDelays, Restarts, is_shortage, reports_shortage


def new(has_steps: bool = True) -> Restarts:
    return Restarts(RestartDelays(), has_steps)


def test_crashes_in_imports_back_off() -> None:
    restarts = new()

    delays = [restarts.after_death(shortage=False) for _ in range(8)]

    assert delays == [0.5, 60, 120, 240, 480, 960, 960, 960]


def test_shortages_are_no_crashes() -> None:
    restarts = new()

    assert [restarts.after_death(shortage=True) for _ in range(6)] == [5, 10, 20, 40, 60, 60]
    assert restarts.after_death(shortage=False) == 0.5


def test_models_do_not_wait_while_a_zygote_is_given_up() -> None:
    restarts = new()

    given_up = []
    for _ in range(3):
        restarts.after_death(shortage=False)
        given_up.append(restarts.given_up)
    restarts.on_ready()

    assert [*given_up, restarts.given_up] == [False, True, True, False]
    assert restarts.after_death(shortage=False) == 0.5  # it was ready, so this is no crash in its imports
    assert not restarts.given_up


@pytest.mark.parametrize("shortage", [False, True])
def test_zygote_without_imports_is_never_given_up(shortage: bool) -> None:
    restarts = new(has_steps=False)

    assert [restarts.after_death(shortage) for _ in range(4)] == [0.5] * 4
    assert not restarts.given_up


def import_error_because(cause: BaseException) -> ImportError:
    error = ImportError("cannot import the C extension")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        BlockingIOError(errno.EAGAIN, "fork"),
        OSError(errno.ENOMEM, "mmap"),
        MemoryError(),
        RuntimeError("can't start new thread"),
        ImportError("libx.so: failed to map segment from shared object: Cannot allocate memory"),
        import_error_because(MemoryError()),
    ],
)
def test_shortage(error: BaseException) -> None:
    assert is_shortage(error)


@pytest.mark.parametrize(
    "error",
    [
        ImportError("libx.so: cannot allocate memory in static TLS block"),
        ModuleNotFoundError("No module named 'x'"),
        OSError(errno.ENOENT, os.strerror(errno.ENOENT)),
        SystemExit("no licence"),
    ],
)
def test_other_errors_are_none(error: BaseException) -> None:
    assert not is_shortage(error)


def test_what_native_code_prints() -> None:
    assert reports_shortage(["warning", "libgomp: Thread creation failed: Resource temporarily unavailable"])
    assert not reports_shortage(["Segmentation fault"])
