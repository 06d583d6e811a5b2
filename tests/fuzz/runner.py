"""What all subjects share: numbered cases made from a seed, findings, and the smallest input that shows one."""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Protocol

CHECK_EVERY = 100
_MAX_FINDINGS = 10
_SHRINK_TRIES, _SHRINK_S = 400, 60.0


class FindingError(Exception):
    """Something happened that no input may cause."""


@dataclass(frozen=True)
class Case:
    """One input. `how` says in which way it is given: a content type, where it is split."""

    data: bytes
    how: str = ""


class Subject(Protocol):
    """What is fuzzed, while it runs.

    name: what --only and the findings call it.
    counts: what has come of the cases, for the table at the end.
    check_every: after how many cases `check` is called.
    shrinks: whether a part of a case's data is a case as well, and fails for the same reason each time.
    """

    name: str
    counts: Counter[str]
    check_every: int
    shrinks: bool

    def new_case(self, chance: Random) -> Case: ...

    def attempt(self, case: Case) -> None:
        """Try one input. Raises FindingError."""

    def check(self) -> None:
        """Check that whatever is fuzzed still works. Raises FindingError."""

    def finish(self) -> None:
        """Check what can be seen at the end only. Raises FindingError."""


@dataclass(frozen=True)
class Limit:
    """When to stop: after so many cases, or at this moment."""

    cases: int | None = None
    deadline: float = float("inf")  # of time.monotonic()

    def reached(self, done: int) -> bool:
        return (self.cases is not None and done >= self.cases) or time.monotonic() >= self.deadline


@dataclass
class Findings:
    """Writes findings below `folder`, each with its input, and prints how to see them again."""

    folder: Path
    seed: int
    messages: list[str] = field(default_factory=list)

    def add(self, subject: Subject, number: int, case: Case, error: object) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{subject.name}-{self.seed}-{number}"
        file.with_suffix(".input").write_bytes(case.data)
        again = f"scripts/fuzz --only {subject.name} --seed {self.seed} --first {number} --cases 1"
        text = f"{subject.name}: {error}\n  input: {file}.input ({case.how or 'as it is'})\n  again: {again}"
        file.with_suffix(".txt").write_text(text + "\n")
        self.messages.append(text)
        print(text, flush=True)


def case_of(subject: Subject, seed: int, number: int) -> Case:
    """Return a case by its number: each has random numbers of its own, so that it can be made alone."""
    return subject.new_case(Random(f"{subject.name} {seed} {number}"))


def fuzz(subject: Subject, findings: Findings, limit: Limit, first: int = 0) -> int:
    """Try cases until the limit; return how many. Ends early when `check` fails or there are many findings."""
    done, before = 0, len(findings.messages)
    recent: deque[tuple[int, Case]] = deque(maxlen=subject.check_every)
    while not limit.reached(done) and len(findings.messages) - before < _MAX_FINDINGS:
        number = first + done
        case = case_of(subject, findings.seed, number)
        recent.append((number, case))
        done += 1
        try:
            subject.attempt(case)
        except FindingError as error:
            findings.add(subject, number, _shrunk(subject, case) if subject.shrinks else case, error)
        if done % subject.check_every == 0 and not _passes(subject.check, subject, findings, recent):
            return done
    if _passes(subject.check, subject, findings, recent):
        _passes(subject.finish, subject, findings, list(recent)[-1:])
    return done


def _passes(
    check: Callable[[], None], subject: Subject, findings: Findings, recent: Sequence[tuple[int, Case]]
) -> bool:
    """Return whether the check passes; if not, any of the cases since the last one may be the cause."""
    try:
        check()
    except FindingError as error:
        for number, case in recent:
            findings.add(subject, number, case, f"one of the last {len(recent)} cases: {error}")
        return False
    return True


def _shrunk(subject: Subject, case: Case) -> Case:
    deadline = time.monotonic() + _SHRINK_S

    def fails(data: bytes) -> bool:
        if time.monotonic() > deadline:
            return False
        try:
            subject.attempt(Case(data, case.how))
        except FindingError:
            return True
        return False

    return Case(smallest(case.data, fails), case.how)


def smallest(data: bytes, fails: Callable[[bytes], bool], tries: int = _SHRINK_TRIES) -> bytes:
    """Leave out parts, halves first, as long as what remains still fails."""
    size = -(-len(data) // 2)
    while size and tries > 0:
        start = 0
        while start < len(data) and tries > 0:
            tries -= 1
            shorter = data[:start] + data[start + size :]
            if fails(shorter):
                data = shorter
            else:
                start += size
        size = size // 2 if size > 1 else 0
    return data
