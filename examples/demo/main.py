"""The demo from its first step to its table of results."""

import argparse
import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from rich import box
from rich.console import Console
from rich.table import Table

from examples.demo import digits, trials
from examples.demo.endpoint import INSTANCES, Endpoint
from examples.demo.models import MODELS, DemoModel
from examples.demo.trials import CSV, JSON, NPY, PNG, Score, Trial
from polyhost.processes import COMMAND, ProcessError, RunningEmulator, running_emulator

KEPT = Path(__file__).parents[2] / "build" / "demo"
"""Where the archives stay, with a request in each format."""
REQUESTS = {PNG: "digit.png", CSV: "digit.csv", JSON: "digit.json", NPY: "digit.npy"}


@dataclass(frozen=True)
class Result:
    """One line of the table. `is_first`: the trial loaded the model, and its line names it."""

    model: DemoModel
    trial: Trial
    score: Score
    archive_bytes: int
    is_first: bool

    @property
    def good(self) -> bool:
        """Whether the model was right often enough."""
        return self.score.accuracy >= self.trial.floor


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo, and return 0 if every model was right often enough."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=import_module("examples.demo").__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the endpoint running until Ctrl-C")
    options = parser.parse_args(arguments)
    console = Console()
    start = time.monotonic()
    try:
        results = _demonstrate(console, options.keep)
    except (BotoCoreError, ClientError, ProcessError, subprocess.CalledProcessError) as error:
        console.print(f"The demo failed: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped; nothing is left running.")
        return 130
    console.print(f"Nothing is left running. The demo took {time.monotonic() - start:.0f} s.")
    return verdict(results, console)


def _demonstrate(console: Console, keep: bool) -> list[Result]:
    """Create the endpoint, then train: models may be uploaded at any time, and by then the containers are warm."""
    with tempfile.TemporaryDirectory(prefix="polyhost-demo-") as folder, ExitStack() as stack:
        work, store = Path(folder, "work"), Path(folder, "store")
        for path in (work, store):
            path.mkdir()
        with _step(console, "start polyhost emulator"):
            emulator = stack.enter_context(running_emulator(Path(folder)))
        endpoint = Endpoint(_boto3_client(emulator))
        with _step(console, f"create the endpoint {endpoint.name}, of {INSTANCES} instances"):
            endpoint.create()
        for model in MODELS:
            _make(model, work / model.name, store, console)
            endpoint.upload(store / model.archive)
        results = [result for model in MODELS for result in _try(model, endpoint, store, console)]
        console.print(_table(results))
        _keep(store)
        console.print(f"The archives and a request in each format are in {KEPT}.", soft_wrap=True)
        if keep:
            _wait_for_interrupt(emulator, endpoint, console)
        with _step(console, f"delete the endpoint {endpoint.name}"):
            endpoint.delete()
    return results


def _boto3_client(emulator: RunningEmulator) -> partial[object]:
    """Return boto3.client with the emulator's address, so that it takes the name of a service only."""
    environ = emulator.environ()
    return partial(
        boto3.client,
        region_name=environ["AWS_DEFAULT_REGION"],
        endpoint_url=environ["AWS_ENDPOINT_URL"],
        aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"total_max_attempts": 1}),
    )


def _make(model: DemoModel, folder: Path, store: Path, console: Console) -> None:
    """Train a model into the folder, and pack that into the store."""
    with _step(console, f"train {model.name} ({model.framework})"):
        folder.mkdir()
        module, _, function = model.train.partition(":")
        train, _ = model.data()
        getattr(import_module(module), function)(folder, train)
    command = [*COMMAND, "pack", str(folder), "-o", model.archive]
    packed = subprocess.run(command, cwd=store, check=True, capture_output=True)
    console.print(" " * 10 + packed.stdout.decode().strip(), highlight=False, markup=False, soft_wrap=True)


def _try(model: DemoModel, endpoint: Endpoint, store: Path, console: Console) -> Iterator[Result]:
    """Run the model's trials; the first request of the first one loads it."""
    _, held_out = model.data()
    for number, trial in enumerate(model.trials):
        with _step(console, f"ask {model.archive} with {len(held_out.x)} x {trial.content_type}"):
            score = trials.run(endpoint, model.archive, trial, held_out)
        yield Result(model, trial, score, (store / model.archive).stat().st_size, is_first=number == 0)


def _keep(store: Path) -> None:
    """Leave the archives and some requests for the commands of the README."""
    shutil.rmtree(KEPT, ignore_errors=True)
    shutil.copytree(store, KEPT)
    _, held_out = digits.digits()
    for trial in (trial for model in MODELS if model.data is digits.digits for trial in model.trials):
        (KEPT / REQUESTS[trial.content_type]).write_bytes(trial.encode(held_out.x[0]))


def _wait_for_interrupt(emulator: RunningEmulator, endpoint: Endpoint, console: Console) -> None:
    lines = (
        f"The endpoint {endpoint.name} stays until Ctrl-C; the emulator's log is {emulator.process.log}",
        "For any AWS client, in another shell:",
        *(f"  export {name}={value}" for name, value in emulator.environ().items()),
        f"  aws sagemaker describe-endpoint --endpoint-name {endpoint.name}",
        f"What goes on in it: {emulator.dashboard_url}",
    )
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
    with contextlib.suppress(KeyboardInterrupt):
        emulator.process.popen.wait()


def _table(results: Sequence[Result]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        caption="right: of the held-out samples, each sent as a request of its own",
    )
    for heading in ("model", "framework", "archive", "sent"):
        table.add_column(heading, no_wrap=True)
    for heading in ("load and\nfirst answer", "warm\nanswer", "right"):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        table.add_row(*_model_cells(result), *_trial_cells(result), style=None if result.good else "red")
    return table


def _model_cells(result: Result) -> tuple[str, str, str]:
    """Return the cells about the model, which only its first line fills."""
    if not result.is_first:
        return ("", "", "")
    return (result.model.name, result.model.framework, _size(result.archive_bytes))


def _trial_cells(result: Result) -> tuple[str, str, str, str]:
    score = result.score
    first = f"{score.first_ms:.0f} ms" if result.is_first else ""
    sent = result.trial.content_type.removeprefix("application/")
    return sent, first, f"{score.warm_ms:.1f} ms", f"{score.accuracy:.1%}"


def _size(count: int) -> str:
    if count < 1000:
        return f"{count} bytes"
    return f"{count / 1e3:.1f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"


def verdict(results: Sequence[Result], console: Console) -> int:
    """Print which models were wrong too often, and return the exit status."""
    poor = [result for result in results if not result.good]
    for result in poor:
        message = f"{result.model.name} was right in {result.score.accuracy:.1%} of {result.trial.content_type}"
        console.print(f"{message}; it must be in {result.trial.floor:.0%}.", style="red")
    return 1 if poor else 0


@contextmanager
def _step(console: Console, name: str) -> Iterator[None]:
    """Show what is going on, then how long it has taken."""
    start = time.perf_counter()
    with console.status(name):
        yield
    console.print(f"{time.perf_counter() - start:6.1f} s  {name}", highlight=False, markup=False)
