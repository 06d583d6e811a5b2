"""Five models of four kinds behind one endpoint of the local SageMaker: train, pack, upload, ask, compare.

`scripts/demo` runs this.
"""

import argparse
import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from rich import box
from rich.console import Console
from rich.table import Table

from examples import digits, trials
from examples.digits import Samples
from examples.endpoint import INSTANCES, Endpoint
from examples.local_sagemaker import LocalSageMaker, emulating
from examples.server import POLYHOST, ServerError
from examples.trials import CSV, JSON, NPY, PNG, Score, Trial
from polyhost.cli.output import size

Data = Callable[[], tuple[Samples, Samples]]

KEPT = Path(__file__).parent.parent / "build" / "demo"  # the archives, and a request in each format
REQUESTS = {PNG: "digit.png", CSV: "digit.csv", JSON: "digit.json", NPY: "digit.npy"}


@dataclass(frozen=True)
class Model:
    """One model of the demo; `train` is named, not imported, so that no framework is imported before its turn."""

    name: str
    framework: str
    train: str
    data: Data
    trials: tuple[Trial, ...]

    @property
    def archive(self) -> str:
        return f"{self.name}.tar.gz"


@dataclass(frozen=True)
class Result:
    """One line of the table."""

    model: Model
    trial: Trial
    score: Score
    archive_bytes: int
    loads: bool

    @property
    def good(self) -> bool:
        return self.score.accuracy >= self.trial.floor


MODELS = (
    Model(
        "digits-mxnet",
        "MXNet",
        "examples.train_mxnet:train",
        digits.digits,
        (Trial(PNG, digits.png, trials.likeliest, 0.95),),
    ),
    Model(
        "digits-torch",
        "PyTorch",
        "examples.train_torch:train",
        digits.digits,
        (Trial(PNG, digits.png, trials.likeliest, 0.95), Trial(NPY, trials.npy_image, trials.likeliest_of_row, 0.95)),
    ),
    Model(
        "digits-forest",
        "scikit-learn",
        "examples.train_sklearn:forest",
        digits.digits,
        (
            Trial(CSV, trials.csv_row, trials.only, 0.94),
            Trial(JSON, trials.json_row, trials.only, 0.94),
            Trial(NPY, trials.npy_row, trials.only, 0.94),
        ),
    ),
    Model(
        "digits-custom",
        "inference.py",
        "examples.train_sklearn:custom",
        digits.digits,
        (Trial(PNG, digits.png, lambda answer: int(answer["digit"]), 0.95),),
    ),
    Model(
        "moons-forest",
        "scikit-learn",
        "examples.train_sklearn:moons",
        digits.moons,
        (Trial(JSON, trials.json_object, lambda answer: int(answer["prediction"]), 0.80),),
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every model answered as well as it must."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the endpoint running until Ctrl-C")
    options = parser.parse_args(arguments)
    console = Console()
    start = time.monotonic()
    try:
        results = _demonstrate(console, options.keep)
    except (BotoCoreError, ClientError, ServerError, subprocess.CalledProcessError) as error:
        console.print(f"The demo failed: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped; nothing is left running.")
        return 130
    console.print(f"Nothing is left running. The demo took {time.monotonic() - start:.0f} s.")
    return verdict(results, console)


def _demonstrate(console: Console, keep: bool) -> list[Result]:
    """The endpoint comes first: models may join it at any time, and by then its frameworks are warm."""
    with tempfile.TemporaryDirectory(prefix="polyhost-demo-") as folder, ExitStack() as stack:
        work, store = Path(folder, "work"), Path(folder, "store")
        for path in (work, store):
            path.mkdir()
        with _step(console, "start polyhost emulator"):
            local = stack.enter_context(emulating(Path(folder)))
        endpoint = Endpoint(local.client)
        with _step(console, f"create the endpoint {endpoint.name}, of {INSTANCES} instances"):
            endpoint.create()
        for model in MODELS:
            _make(model, work / model.name, store, console)
            endpoint.upload(store / model.archive)
        results = [result for model in MODELS for result in _ask(model, endpoint, store, console)]
        console.print(_table(results))
        _keep(store)
        console.print(f"The archives and a request in each format are in {KEPT}.", soft_wrap=True)
        if keep:
            _wait_for_interrupt(local, endpoint, console)
        with _step(console, f"delete the endpoint {endpoint.name}"):
            endpoint.delete()
    return results


def _make(model: Model, folder: Path, store: Path, console: Console) -> None:
    with _step(console, f"train {model.name} ({model.framework})"):
        folder.mkdir()
        module, _, function = model.train.partition(":")
        train, _ = model.data()
        getattr(import_module(module), function)(folder, train)
    packed = subprocess.run([POLYHOST, "pack", folder, "-o", model.archive], cwd=store, check=True, capture_output=True)
    console.print(" " * 10 + packed.stdout.decode().strip(), highlight=False, markup=False, soft_wrap=True)


def _ask(model: Model, endpoint: Endpoint, store: Path, console: Console) -> Iterator[Result]:
    _, held_out = model.data()
    for number, trial in enumerate(model.trials):
        with _step(console, f"ask {model.archive} with {len(held_out.x)} x {trial.sent}"):
            score = trials.ask(endpoint, model.archive, trial, held_out)
        yield Result(model, trial, score, (store / model.archive).stat().st_size, loads=number == 0)


def _keep(store: Path) -> None:
    """For the commands of the README."""
    shutil.rmtree(KEPT, ignore_errors=True)
    shutil.copytree(store, KEPT)
    _, held_out = digits.digits()
    for trial in (trial for model in MODELS if model.data is digits.digits for trial in model.trials):
        (KEPT / REQUESTS[trial.sent]).write_bytes(trial.send(held_out.x[0]))


def _wait_for_interrupt(local: LocalSageMaker, endpoint: Endpoint, console: Console) -> None:
    exports = [f"  export {name}={value}" for name, value in local.environment().items()]
    lines = (
        f"The endpoint {endpoint.name} stays until Ctrl-C; the emulator's log is {local.log}",
        "For any AWS client, in another shell:",
        *exports,
        f"  aws sagemaker describe-endpoint --endpoint-name {endpoint.name}",
        f"What goes on in it: {local.page}",
    )
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
    with contextlib.suppress(KeyboardInterrupt):
        local.process.wait()


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
        table.add_row(*_about_model(result), *_about_trial(result), style=None if result.good else "red")
    return table


def _about_model(result: Result) -> tuple[str, str, str]:
    """Told once per model."""
    return (result.model.name, result.model.framework, size(result.archive_bytes)) if result.loads else ("", "", "")


def _about_trial(result: Result) -> tuple[str, str, str, str]:
    score = result.score
    first = f"{score.first_ms:.0f} ms" if result.loads else ""
    return result.trial.sent.removeprefix("application/"), first, f"{score.warm_ms:.1f} ms", f"{score.accuracy:.1%}"


def verdict(results: Sequence[Result], console: Console) -> int:
    poor = [result for result in results if not result.good]
    for result in poor:
        message = f"{result.model.name} was right in {result.score.accuracy:.1%} of {result.trial.sent}"
        console.print(f"{message}; it must be in {result.trial.floor:.0%}.", style="red")
    return 1 if poor else 0


@contextmanager
def _step(console: Console, name: str) -> Iterator[None]:
    """Shows what is going on, then what it took."""
    start = time.perf_counter()
    with console.status(name):
        yield
    console.print(f"{time.perf_counter() - start:6.1f} s  {name}", highlight=False, markup=False)


if __name__ == "__main__":
    # SIGTERM unwinds like Ctrl-C, so that it too ends the container.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
