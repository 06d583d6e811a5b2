"""Hot and cold models, unloads and killed workers, all at once and for a long time. scripts/soak runs this.

Each request must get its own response, or an error that a simultaneous unload or kill explains; the front end's memory
must not grow, and nothing may be left at the end.
"""

import argparse
import json
import os
import random
import shutil
import signal
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

from benchmarks.client import MeasuringClient
from benchmarks.models import Copy, Kind
from benchmarks.processes import command_line, is_zygote_or_worker
from benchmarks.servers import STOP_S, BenchServer, native, polyhost, running
from polyhost.processes import ProcessError, proportional_bytes

FRONTS = {"native": (native, "polyhost.container.native"), "mms": (polyhost, "com.amazonaws.ml.mms.ModelServer")}
HOT, HOT_CLIENTS, COLD_CLIENTS = 5, 4, 2
UNLOAD_EVERY_S = (0.1, 0.5)
KILL_EVERY_S = (0.05, 0.3)
LARGE_BYTES, LARGE_SHARE = 300_000, 0.02
# MMS forgets what is in the queue of a model that is unloaded (docs/conformance.md, 22). An echo takes milliseconds.
_NO_RESPONSE_S = 60.0
SAMPLE_S = 0.5
WARM_UP_S = 10.0  # before the first look at memory: buffers reach their size
GROWTH = 0.05
UNANSWERED = "requests without a response beside an unload"
# A death affects requests sent to the worker before it is noticed. A model whose workers were killed several times in a
# row backs off, and its errors say so.
_NOTICED_S, _BACKOFF_S = 5.0, 60.0
_SHOWN = 10


@dataclass
class SoakedModel:
    """A model as the platform sees it. `absences` are from the start of an unload to the end of the next load."""

    copy: Copy
    lock: threading.Lock = field(default_factory=threading.Lock)  # serialises loads and unloads
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

    def explains(self, error: "SoakError", start: float, end: float) -> bool:
        if error.type in ("ModelNotFoundError", "ModelUnloadingError", "ModelUnloadedError") or error.status == 404:
            return self.was_absent(start, end)
        if error.type == "WorkerDiedError" or error.message == "Worker died.":  # the latter is MMS's own
            return self.was_killed(start - (_BACKOFF_S if "in a row" in error.message else _NOTICED_S), end)
        return False


@dataclass(frozen=True)
class SoakError:
    """An error response."""

    status: int
    type: str
    message: str

    @classmethod
    def of(cls, status: int, body: bytes) -> "SoakError":
        """Parse a response of either front end: MMS names the status `code`, and the rest alike."""
        try:
            content = json.loads(body)
            return cls(status, content["type"], content["message"])
        except (ValueError, KeyError, TypeError):
            return cls(status, "", body[:200].decode(errors="replace"))


class Tally:
    """Counts and failures, from many threads."""

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

    def note_no_response(self, model: SoakedModel, start: float, end: float, forgets: bool) -> None:
        """Count a request without a response, apart if the front end forgets some and an unload came between."""
        if forgets and model.was_absent(start, end):
            self.count(UNANSWERED)
        else:
            self.fail(f"request of {model.copy.name}: no response in {end - start:.0f} s")


class Soak:
    """One run on one server."""

    def __init__(self, server: BenchServer, front: str, models: int, seed: int) -> None:
        part = FRONTS[front][1]  # a word of the front end's command line
        self._forgets = front == "mms"
        self.tally = Tally()
        self.memory: list[tuple[float, float]] = []  # time, private bytes of the front end
        self._server = server
        self._models = [SoakedModel(_echo(server.models_dir, number)) for number in range(models)]
        self._random = random.Random(seed)
        self._stop = threading.Event()
        (self._front_end,) = (process for process in _descendants(server) if part in command_line(process))

    def run(self, seconds: float) -> None:
        with self._server.client() as client:
            for model in self._models:  # once each, so that the cost of a name does not count as growth
                self._load(client, model)
                self._invoke(client, model, b"x" * LARGE_BYTES)
        actors = [self._unload_some, self._kill_some, self._measure]
        actors += [self._invoke_hot] * HOT_CLIENTS + [self._invoke_any] * COLD_CLIENTS
        with ThreadPoolExecutor(len(actors)) as pool:
            running = [pool.submit(self._guarded, actor, random.Random(self._random.random())) for actor in actors]
            self._stop.wait(WARM_UP_S + seconds)
            self._stop.set()
            for future in running:
                future.result()
        self._check_all_models()

    def growth(self) -> float:
        """Return the growth of the front end's memory from the first tenth of the time to the last, as a share."""
        first, last = self.memory_mb()
        return last / first - 1

    def memory_mb(self) -> tuple[float, float]:
        """Return the front end's memory in the first tenth of the time, and in the last."""
        tenth = max(1, len(self.memory) // 10)
        values = [size / 1e6 for _, size in self.memory]
        return median(values[:tenth]), median(values[-tenth:])

    def end(self) -> None:
        """Stop the server with SIGTERM: it must leave no process and no file."""
        processes = _descendants(self._server)
        try:
            self._server.process.stop(STOP_S)
        except ProcessError as error:
            self.tally.fail(str(error))
        left = [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
        self.tally.counts["processes left"] = len(left)
        files = list((self._server.base_dir / "tmp").iterdir())
        self.tally.counts["files left"] = len(files)
        if left or files:
            self.tally.fail(f"left behind: {left} {files}")

    # Actors, each in a thread

    def _guarded(self, actor: Callable[[MeasuringClient, random.Random], None], chance: random.Random) -> None:
        try:
            with self._server.client(_NO_RESPONSE_S) as client:
                actor(client, chance)
        except Exception as error:  # a lost connection is a lost response
            self.tally.fail(f"{actor.__name__}: {error!r}")
            self._stop.set()

    def _invoke_hot(self, client: MeasuringClient, chance: random.Random) -> None:
        while not self._stop.is_set():
            self._load_and_invoke(client, chance.choice(self._models[:HOT]), chance)

    def _invoke_any(self, client: MeasuringClient, chance: random.Random) -> None:
        while not self._stop.wait(chance.uniform(0, 0.05)):
            self._load_and_invoke(client, chance.choice(self._models), chance)

    def _any(self, chance: random.Random) -> SoakedModel:
        """Choose a model; every second one is hot, so that it has a request in progress."""
        return chance.choice(self._models[:HOT] if chance.random() < 0.5 else self._models)

    def _load_and_invoke(self, client: MeasuringClient, model: SoakedModel, chance: random.Random) -> None:
        """Invoke a model as the platform does, which loads it when it is needed."""
        if model.absent_since is not None:
            self._load(client, model)
        size = LARGE_BYTES if chance.random() < LARGE_SHARE else chance.randrange(1, 200)
        self._invoke(client, model, chance.randbytes(size))

    def _unload_some(self, client: MeasuringClient, chance: random.Random) -> None:
        while not self._stop.wait(chance.uniform(*UNLOAD_EVERY_S)):
            self._unload(client, self._any(chance))

    def _kill_some(self, client: MeasuringClient, chance: random.Random) -> None:
        by_folder = {str(model.copy.folder): model for model in self._models}
        while not self._stop.wait(chance.uniform(*KILL_EVERY_S)):
            folder = str(self._any(chance).copy.folder)
            workers = [process for process in _descendants(self._server) if _folder(process) == folder]
            if workers:
                self._kill(chance.choice(workers), by_folder)

    def _kill(self, worker: psutil.Process, by_folder: dict[str, SoakedModel]) -> None:
        try:
            descriptor = os.pidfd_open(worker.pid)  # from here on the id cannot become another process's
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

    def _measure(self, client: MeasuringClient, chance: random.Random) -> None:
        self._stop.wait(WARM_UP_S)
        while not self._stop.wait(SAMPLE_S):
            self.memory.append((time.monotonic(), proportional_bytes(self._front_end.pid)))

    # Single requests

    def _load(self, client: MeasuringClient, model: SoakedModel) -> None:
        with model.lock:
            since = model.absent_since
            if since is None:
                return
            start = time.monotonic()
            body = json.dumps({"model_name": model.copy.name, "url": str(model.copy.folder)}).encode()
            status, response = client.exchange("POST", "/models", body, "application/json")
            if status == 200:
                model.absences.append((since, time.monotonic()))
                model.absent_since = None
                self.tally.count("loads")
            else:
                self._explain("load", model, SoakError.of(status, response), start)

    def _unload(self, client: MeasuringClient, model: SoakedModel) -> None:
        with model.lock:
            if model.absent_since is not None:
                return
            model.absent_since = start = time.monotonic()
            status, response = client.exchange("DELETE", f"/models/{model.copy.name}")
            if status == 200:
                self.tally.count("unloads")
            else:
                self._explain("unload", model, SoakError.of(status, response), start)

    def _invoke(self, client: MeasuringClient, model: SoakedModel, body: bytes) -> None:
        start = time.monotonic()
        path = f"/models/{model.copy.name}/invoke"
        self.tally.count("requests")
        try:
            status, response = client.exchange("POST", path, body, "application/octet-stream")
        except TimeoutError:
            client.reconnect()
            self.tally.note_no_response(model, start, time.monotonic(), self._forgets)
            return
        if status != 200:
            self._explain("request", model, SoakError.of(status, response), start)
        elif response == model.copy.name.encode() + b" " + body:
            self.tally.count("right responses")
        else:
            self.tally.fail(f"wrong response of {model.copy.name}: {response[:100]!r} to {body[:100]!r}")

    def _explain(self, what: str, model: SoakedModel, error: SoakError, start: float) -> None:
        if model.explains(error, start, time.monotonic()):
            self.tally.count(f"explained errors of {what}s: {error.status} {error.type}")
        else:
            self.tally.fail(f"{what} of {model.copy.name} failed without a simultaneous unload or kill: {error}")

    def _check_all_models(self) -> None:
        """Check that every model responds, once the workers killed last have been replaced."""
        time.sleep(_NOTICED_S)
        with self._server.client() as client:
            for model in self._models:
                self._load(client, model)
                self._invoke(client, model, b"at the end")


def _echo(models_dir: Path, number: int) -> Copy:
    name = f"soak{number:03d}"
    folder = models_dir / name / "model"
    (folder / "MAR-INF").mkdir(parents=True)
    shutil.copy(Path(__file__).parent / "echo_handler.py", folder / "model_handler.py")
    model = {"modelName": name, "handler": "model_handler.py:handle"}
    (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps({"runtime": "python", "model": model}))
    return Copy(name, Kind("echo", "bare", "application/octet-stream", lambda folder: None, bytes), folder)


def _descendants(server: BenchServer) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children(recursive=True)


def _folder(process: psutil.Process) -> str:
    """Return the folder of the model that a worker serves, else nothing."""
    try:
        return str(process.cwd()) if is_zygote_or_worker(process) else ""
    except psutil.Error:
        return ""


def soak(front: str, seconds: float, models: int, seed: int, max_growth: float = GROWTH) -> Soak:
    """Run a soak test; its tally has failures if something went wrong.

    `max_growth` is the tolerated growth of the front end's memory, as a share.
    """
    stack, _ = FRONTS[front]
    with running(stack(POLYHOST_ZYGOTES="bare")) as server:
        found = Soak(server, front, models, seed)
        found.run(seconds)
        found.end()
    if front == "native" and found.growth() > max_growth:  # Java uses all the memory it may before it collects garbage
        found.tally.fail(f"the front end's memory grew by {found.growth():.1%}, more than {max_growth:.0%}")
    return found


def table(found: Soak) -> Table:
    made = Table(box=box.SIMPLE_HEAD, show_header=False)
    made.add_column(no_wrap=True)
    made.add_column(justify="right", no_wrap=True)
    for what, count in sorted(found.tally.counts.items()):
        made.add_row(what, f"{count:,}")
    first, last = found.memory_mb()
    made.add_row("memory of the front end, first tenth", f"{first:.1f} MB")
    made.add_row("the same, last tenth", f"{last:.1f} MB ({found.growth():+.1%})")
    made.add_row("failures", f"{len(found.tally.failures):,}")
    return made


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument(
        "--front",
        choices=FRONTS,
        default="native",
        help="MMS leaves some requests without a response when their model is unloaded; they are counted apart",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of which models are invoked, unloaded and killed, not of when"
    )
    given = parser.parse_args(arguments)
    found = soak(given.front, given.seconds, given.models, given.seed)
    console = Console()
    console.print(table(found))
    for failure in found.tally.failures[:_SHOWN]:
        console.print(failure, style="red", markup=False, highlight=False)
    return 1 if found.tally.failures else 0


if __name__ == "__main__":
    # SIGTERM unwinds like Ctrl-C, so that it stops the server as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
