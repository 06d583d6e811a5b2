"""What a zygote does before its first fork, on kernels with and without prefault."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from polyhost.container.config import Config
from polyhost.container.prefork import heap, prefault, prepare


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Record whether the heap was filled each time that it was settled."""
    calls: list[bool] = []
    monkeypatch.setattr(heap, "settle", lambda fill=True: calls.append(fill))
    return calls


@pytest.fixture
def exercised(tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Return the letters that load exercises have written in forks."""
    path = tmp_path / "exercised"
    path.touch()
    yield path.read_text


def load_exercise(path: Path, letter: str) -> prepare.LoadExercise:
    zygote = os.getpid()

    @contextmanager
    def exercise() -> Iterator[Callable[[], None]]:
        def load_and_predict() -> None:
            if os.getpid() != zygote:
                with path.open("a") as file:
                    file.write(letter)

        yield load_and_predict

    return exercise


@pytest.mark.parametrize(
    ("supported", "disabled", "learned", "filled"),
    [
        (True, "", "ab", [True, True, True]),
        (False, "", "", [True, True]),
        (True, "prefault", "", [True, True]),
        (False, "fill-heap,prefault", "", [False]),
    ],
)
def test_nothing_is_done_for_a_prefault_that_cannot_be_used(
    settled: list[bool],
    exercised: Callable[[], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    supported: bool,
    disabled: str,
    learned: str,
    filled: list[bool],
) -> None:
    monkeypatch.setattr(prefault, "is_supported", lambda: supported)
    config = Config.from_environ({"POLYHOST_DISABLE": disabled})
    exercises = [load_exercise(tmp_path / "exercised", letter) for letter in "ab"]

    found = prepare.prepare_for_forks(config, exercises)

    assert (exercised(), settled) == (learned, filled)
    assert (found.pages > 0) is bool(learned)
