"""Fuzz for long: scripts/fuzz --minutes N. Findings are written below build/fuzz."""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from tests.fuzz.archives import ArchiveSubject
from tests.fuzz.bodies import BodySubject
from tests.fuzz.control import ControlSubject
from tests.fuzz.http_subject import HttpSubject
from tests.fuzz.runner import Findings, Limit, Subject, fuzz
from tests.fuzz.state import StateSubject
from tests.support.container import running

ROOT = Path(__file__).parent.parent.parent


@contextmanager
def _http(front: str) -> Iterator[Subject]:
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), front, POLYHOST_ZYGOTES="bare") as container:
        yield HttpSubject(container)


@contextmanager
def _bodies() -> Iterator[Subject]:
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), "native") as container:
        yield BodySubject(container, ["sklearn", "torch", "mxnet"])


SUBJECTS: dict[str, Callable[[], AbstractContextManager[Subject]]] = {
    "http-native": lambda: _http("native"),
    "http-mms": lambda: _http("mms"),
    "bodies": _bodies,
    "archives": lambda: closing(ArchiveSubject()),
    "control": lambda: closing(ControlSubject()),
    "state": lambda: closing(StateSubject()),
}


def chosen(only: str) -> list[str]:
    """Return the subjects of a comma-separated list; `http` is both front ends. Raises ValueError."""
    names = [name for word in only.split(",") for name in SUBJECTS if name in (word, f"{word}-native", f"{word}-mms")]
    known = {*SUBJECTS, "http"}
    if unknown := [word for word in only.split(",") if word not in known]:
        raise ValueError(f"unknown: {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    return names


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="of all subjects together; each gets the same share")
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="by default another one each time; it is printed"
    )
    parser.add_argument("--only", default=",".join(SUBJECTS), help="a list of http, " + ", ".join(SUBJECTS))
    parser.add_argument("--first", type=int, default=0, help="number of the first case: each can be made alone")
    parser.add_argument("--cases", type=int, help="how many cases of each subject at most")
    given = parser.parse_args(arguments)
    try:
        names = chosen(given.only)
    except ValueError as error:
        parser.error(str(error))
    findings = Findings(ROOT / "build" / "fuzz", given.seed)
    print(f"seed {given.seed}", flush=True)
    for name in names:
        with SUBJECTS[name]() as subject:
            start = time.monotonic()
            limit = Limit(given.cases, start + given.minutes * 60 / len(names))
            done = fuzz(subject, findings, limit, given.first)
            print(f"{name}: {done:,} cases in {time.monotonic() - start:.0f} s", flush=True)
            for what, count in sorted(subject.counts.items()):
                print(f"  {what}: {count:,}", flush=True)
    print(f"{len(findings.messages)} findings", flush=True)
    return 1 if findings.messages else 0


if __name__ == "__main__":
    # SIGTERM unwinds like Ctrl-C, so that it stops what is fuzzed as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
