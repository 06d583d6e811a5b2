"""Hot and cold models, unloads and killed workers, all at once and for long. scripts/soak runs this.

Each request must have the answer that is right for it, or an error that says what the unload or the kill beside it did;
the front end's memory must not grow, and nothing may be left at the end.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.api import Api
from benchmarks.models import Copy, Kind
from benchmarks.servers import STOP_S, Server, native, polyhost, running

FRONTS = {"native": (native, "polyhost.container.native"), "mms": (polyhost, "com.amazonaws.ml.mms.ModelServer")}
HOT, HOT_CLIENTS, COLD_CLIENTS = 5, 4, 2
UNLOAD_EVERY_S = (0.1, 0.5)
KILL_EVERY_S = (0.05, 0.3)
LARGE_BYTES, LARGE_SHARE = 300_000, 0.02
SAMPLE_S = 0.5
WARM_UP_S = 10.0  # before the first look at memory: buffers reach their size
GROWTH = 0.05
_ZYGOTE = "polyhost.container.forkserver.zygote"  # a worker has its zygote's command line
# A worker's death is felt by calls that were sent to it before it was noticed; a model whose workers were killed in a
# row rests, and says so.
_FELT_S, _RESTS_S = 5.0, 60.0
_SHOWN = 10


@dataclass
class Hosted:
    """A model as the platform sees it. `absences`: from the start of an unload to the end of the next load."""

    copy: Copy
    lock: threading.Lock = field(default_factory=threading.Lock)  # loads and unloads come one after the other
    absent_since: float | None = field(default_factory=time.monotonic)
    absences: list[tuple[float, float]] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)

    def was_absent(self, start: float, end: float) -> bool:
        return self._absent_by(end) or any(begin <= end and start <= over for begin, over in self.absences)

    def _absent_by(self, end: float) -> bool:
        since = self.absent_since
        return since is not None and since <= end

    def was_killed(self, start: float, end: float) -> bool:
        return any(start <= killed <= end for killed in self.kills)

    def explains(self, error: "Error", start: float, end: float) -> bool:
        if error.type in ("ModelNotFoundError", "ModelUnloadingError", "ModelUnloadedError") or error.status == 404:
            return self.was_absent(start, end)
        if error.type == "WorkerDiedError" or error.message == "Worker died.":  # the latter is MMS's own
            return self.was_killed(start - (_RESTS_S if "rests" in error.message else _FELT_S), end)
        return False


@dataclass(frozen=True)
class Error:
    status: int
    type: str
    message: str

    @classmethod
    def of(cls, status: int, body: bytes) -> "Error":
        """MMS has a code in the place of our status, and the same names for the rest."""
        try:
            told = json.loads(body)
            return cls(status, told["type"], told["message"])
        except (ValueError, KeyError, TypeError):
            return cls(status, "", body[:200].decode(errors="replace"))


class Tally:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self._lock = threading.Lock()

    def count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    def fail(self, what: str) -> None:
        with self._lock:
            self.failures.append(what)


class Soak:
    def __init__(self, server: Server, part: str, models: int, seed: int) -> None:
        """`part`: a word of the front end's command line."""
        self.tally = Tally()
        self.memory: list[tuple[float, float]] = []  # when, and the front end's own bytes
        self._server = server
        self._models = [Hosted(_echo(server.models_dir, number)) for number in range(models)]
        self._random = random.Random(seed)
        self._stop = threading.Event()
        (self._front_end,) = (process for process in _descendants(server) if part in _command(process))

    def run(self, seconds: float) -> None:
        with self._server.api() as api:
            for model in self._models:  # once each, so that what a name costs is not taken for growth
                self._load(api, model)
                self._ask(api, model, b"x" * LARGE_BYTES)
        actors = [self._unload_some, self._kill_some, self._measure]
        actors += [self._ask_hot] * HOT_CLIENTS + [self._ask_any] * COLD_CLIENTS
        with ThreadPoolExecutor(len(actors)) as pool:
            running = [pool.submit(self._guarded, actor, random.Random(self._random.random())) for actor in actors]
            self._stop.wait(WARM_UP_S + seconds)
            self._stop.set()
            for future in running:
                future.result()
        self._check_that_all_is_well()

    def growth(self) -> float:
        """Of the front end's memory, from the first tenth of the time to the last."""
        first, last = self.memory_mb()
        return last / first - 1

    def memory_mb(self) -> tuple[float, float]:
        tenth = max(1, len(self.memory) // 10)
        values = [size / 1e6 for _, size in self.memory]
        return median(values[:tenth]), median(values[-tenth:])

    def end(self) -> None:
        """SIGTERM must leave no process and no file."""
        processes = _descendants(self._server)
        self._server.process.send_signal(signal.SIGTERM)
        try:
            self._server.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.tally.fail(f"the container has not ended within {STOP_S:.0f} s of SIGTERM")
        left = [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
        self.tally.counts["processes left"] = len(left)
        files = list((self._server.base_dir / "tmp").iterdir())
        self.tally.counts["files left"] = len(files)
        if left or files:
            self.tally.fail(f"left behind: {left} {files}")

    # What goes on at once

    def _guarded(self, actor: Callable[[Api, random.Random], None], chance: random.Random) -> None:
        try:
            with self._server.api() as api:
                actor(api, chance)
        except Exception as error:  # a lost connection is a lost answer
            self.tally.fail(f"{actor.__name__}: {error!r}")
            self._stop.set()

    def _ask_hot(self, api: Api, chance: random.Random) -> None:
        while not self._stop.is_set():
            self._ask_or_load(api, chance.choice(self._models[:HOT]), chance)

    def _ask_any(self, api: Api, chance: random.Random) -> None:
        while not self._stop.wait(chance.uniform(0, 0.05)):
            self._ask_or_load(api, chance.choice(self._models), chance)

    def _any(self, chance: random.Random) -> Hosted:
        """Every second one is hot: there a call is always under way."""
        return chance.choice(self._models[:HOT] if chance.random() < 0.5 else self._models)

    def _ask_or_load(self, api: Api, model: Hosted, chance: random.Random) -> None:
        """As the platform does: a model is loaded when it is asked for."""
        if model.absent_since is not None:
            self._load(api, model)
        size = LARGE_BYTES if chance.random() < LARGE_SHARE else chance.randrange(1, 200)
        self._ask(api, model, chance.randbytes(size))

    def _unload_some(self, api: Api, chance: random.Random) -> None:
        while not self._stop.wait(chance.uniform(*UNLOAD_EVERY_S)):
            self._unload(api, self._any(chance))

    def _kill_some(self, api: Api, chance: random.Random) -> None:
        by_folder = {str(model.copy.folder): model for model in self._models}
        while not self._stop.wait(chance.uniform(*KILL_EVERY_S)):
            folder = str(self._any(chance).copy.folder)
            workers = [process for process in _descendants(self._server) if _folder(process) == folder]
            if workers:
                self._kill(chance.choice(workers), by_folder)

    def _kill(self, worker: psutil.Process, by_folder: dict[str, Hosted]) -> None:
        try:
            descriptor = os.pidfd_open(worker.pid)  # now the number cannot become another process's
        except ProcessLookupError:
            return
        try:
            if model := by_folder.get(_folder(worker)):
                model.kills.append(time.monotonic())
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                self.tally.count("workers killed")
        except ProcessLookupError:
            pass
        finally:
            os.close(descriptor)

    def _measure(self, api: Api, chance: random.Random) -> None:
        self._stop.wait(WARM_UP_S)
        while not self._stop.wait(SAMPLE_S):
            self.memory.append((time.monotonic(), self._front_end.memory_full_info().uss))

    # One call

    def _load(self, api: Api, model: Hosted) -> None:
        with model.lock:
            since = model.absent_since
            if since is None:
                return
            start = time.monotonic()
            body = json.dumps({"model_name": model.copy.name, "url": str(model.copy.folder)}).encode()
            status, answer = api.exchange("POST", "/models", body, "application/json")
            if status == 200:
                model.absences.append((since, time.monotonic()))
                model.absent_since = None
                self.tally.count("loads")
            else:
                self._explain("load", model, Error.of(status, answer), start)

    def _unload(self, api: Api, model: Hosted) -> None:
        with model.lock:
            if model.absent_since is not None:
                return
            model.absent_since = start = time.monotonic()
            status, answer = api.exchange("DELETE", f"/models/{model.copy.name}")
            if status == 200:
                self.tally.count("unloads")
            else:
                self._explain("unload", model, Error.of(status, answer), start)

    def _ask(self, api: Api, model: Hosted, body: bytes) -> None:
        start = time.monotonic()
        path = f"/models/{model.copy.name}/invoke"
        status, answer = api.exchange("POST", path, body, "application/octet-stream")
        self.tally.count("requests")
        if status != 200:
            self._explain("request", model, Error.of(status, answer), start)
        elif answer == model.copy.name.encode() + b" " + body:
            self.tally.count("answered right")
        else:
            self.tally.fail(f"wrong answer of {model.copy.name}: {answer[:100]!r} to {body[:100]!r}")

    def _explain(self, what: str, model: Hosted, error: Error, start: float) -> None:
        if model.explains(error, start, time.monotonic()):
            self.tally.count(f"{what}s told why not: {error.status} {error.type}")
        else:
            self.tally.fail(f"{what} of {model.copy.name}, with no unload and no kill beside it: {error}")

    def _check_that_all_is_well(self) -> None:
        """No unload and no kill any more: every model answers, once the last killed have been replaced."""
        time.sleep(_FELT_S)
        with self._server.api() as api:
            for model in self._models:
                self._load(api, model)
                self._ask(api, model, b"at the end")


def _echo(models_dir: Path, number: int) -> Copy:
    name = f"soak{number:03d}"
    folder = models_dir / name / "model"
    (folder / "MAR-INF").mkdir(parents=True)
    shutil.copy(Path(__file__).parent / "echo_handler.py", folder / "model_handler.py")
    model = {"modelName": name, "handler": "model_handler.py:handle"}
    (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps({"runtime": "python", "model": model}))
    return Copy(name, Kind("echo", "bare", "application/octet-stream", lambda folder: None, bytes), folder)


def _descendants(server: Server) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children(recursive=True)


def _folder(process: psutil.Process) -> str:
    """Of the model that it serves, where it is a worker."""
    try:
        return str(process.cwd()) if _ZYGOTE in _command(process) else ""
    except psutil.Error:
        return ""


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []  # it ended meanwhile


def soak(front: str, seconds: float, models: int, seed: int, most_growth: float = GROWTH) -> Soak:
    """What was seen; `failures` of its tally is empty where all is well. `most_growth`: of the front end's memory."""
    stack, part = FRONTS[front]
    with running(stack(POLYHOST_ZYGOTES="bare")) as server:
        found = Soak(server, part, models, seed)
        found.run(seconds)
        found.end()
    if front == "native" and found.growth() > most_growth:  # Java takes what it may before it cleans up
        found.tally.fail(f"the front end's memory grew by {found.growth():.1%}, more than {most_growth:.0%}")
    return found


def table(found: Soak) -> Table:
    made = Table(box=box.SIMPLE_HEAD, show_header=False)
    made.add_column(no_wrap=True)
    made.add_column(justify="right", no_wrap=True)
    for what, count in sorted(found.tally.counts.items()):
        made.add_row(what, f"{count:,}")
    first, last = found.memory_mb()
    made.add_row("the front end's own memory, first tenth", f"{first:.1f} MB")
    made.add_row("the same, last tenth", f"{last:.1f} MB ({found.growth():+.1%})")
    made.add_row("failures", f"{len(found.tally.failures):,}")
    return made


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument(
        "--front", choices=FRONTS, default="native", help="MMS may leave a call without an answer when its model goes"
    )
    parser.add_argument("--seed", type=int, default=0, help="of what is asked, unloaded and killed, not of when")
    given = parser.parse_args(arguments)
    found = soak(given.front, given.seconds, given.models, given.seed)
    console = Console()
    console.print(table(found))
    for failure in found.tally.failures[:_SHOWN]:
        console.print(failure, style="red", markup=False, highlight=False)
    return 1 if found.tally.failures else 0


if __name__ == "__main__":
    # SIGTERM unwinds like Ctrl-C, so that it too ends the server.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
