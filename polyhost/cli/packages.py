"""The packages that a model's folder asks for: installed in a layer that is thrown away, or collected as wheels.

By the container's own code (container/layers), with this environment in the image's place.
"""

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer

from polyhost.cli import environment, extras, output
from polyhost.cli.errors import CommandError

_SETTING = "POLYHOST_REQUIREMENTS"
_SECONDS = 900.0


@dataclass(frozen=True)
class Installed:
    """What was installed for a model: `site` goes on its search path."""

    site: Path
    packages: tuple[str, ...]
    size: int
    seconds: float
    isolated: bool
    setting: str | None = None  # what the container needs to do the same, if this environment does not say it

    def __str__(self) -> str:
        if not self.packages:
            return "none to install: this environment has them all"
        kind = ", in a Python of its own" if self.isolated else ""
        hint = f"; the container does so with {_SETTING}={self.setting}" if self.setting else ""
        return f"{', '.join(self.packages)} ({output.size(self.size)}, {self.seconds:.1f} s{kind}){hint}"


def install(folder: Path, work: Path) -> Installed | None:
    """Install what the folder asks for below `work`; None if it asks for nothing, or the setting says off.

    Without a setting from an index, unless the folder has wheels. Raises CommandError.
    """
    from polyhost.container.config import Requirements

    needs = _needs_of(folder)
    given = environment.read().get(_SETTING, "").strip().lower()
    source = _source(given or Requirements.INSTALL.value)
    if needs is None or source is Requirements.OFF:
        return None
    if not given and not all(map(find_spec, ("uv", "packaging"))):
        typer.echo(f"{needs.names} is not installed: that takes pip install 'polyhost[requirements]'", err=True)
        return None
    extras.require("requirements", f"{_SETTING}={given}")
    # Not before: a folder that asks for nothing does not take the extra.
    from polyhost.container.layers.builder import Builder
    from polyhost.container.layers.image import Image
    from polyhost.container.layers.store import LayerStore

    began = time.monotonic()
    with _as_command_errors():
        store = LayerStore(work / "layers").prepare()
        layer, hold = Builder(store, Image.of_process(), _plan(source, work)).layer_for(folder, needs)
        hold.close()
    setting = None if given else (Requirements.WHEELS if needs.has_wheels else Requirements.INSTALL).value
    seconds = time.monotonic() - began
    return Installed(store.site(layer.key), layer.packages, layer.size, seconds, layer.isolated, setting)


def collect_wheels(folder: Path, work: Path, image: Path | None) -> Path:
    """Collect the wheels that the folder asks for, and their sums, in a folder below `work`.

    `image`: a file with the packages of the image, as pip freeze prints them; None: those of this environment. Wheels
    that the folder has in code/wheels/ are used before those of the index. Raises CommandError.
    """
    extras.require("requirements", "--with-wheels")
    from polyhost.container.config import Requirements
    from polyhost.container.layers import index, wheels
    from polyhost.container.layers.builder import Builder
    from polyhost.container.layers.needs import SUMS
    from polyhost.container.layers.store import LayerStore

    needs = _needs_of(folder)
    if needs is None:
        raise CommandError(f"{folder} has no requirements.txt, at its root or under code/; write one")
    target = work / "wheels"
    target.mkdir()
    with _as_command_errors():
        builder = Builder(LayerStore(work / "layers").prepare(), _image(image), _plan(Requirements.INSTALL, work))
        chosen = builder.resolve(folder, needs)
        _download(chosen, folder, index.for_uv(index.variables_of(environment.read())), target)
        found = {path.name: wheels.sum_of(path) for path in sorted(target.iterdir())}
        (target / SUMS).write_text(wheels.write_sums(found))
    return target


def _needs_of(folder: Path) -> Any:
    from polyhost.container.layers.needs import Needs

    try:
        return Needs.of(folder)
    except OSError as error:
        raise CommandError(f"cannot read {error.filename}: {error.strerror}") from error


def _source(value: str) -> Any:
    from polyhost.container.config import Requirements

    try:
        return Requirements(value)
    except ValueError:
        raise CommandError(f"{_SETTING}={value!r}: must be one of {', '.join(Requirements)}") from None


def _plan(source: Any, work: Path) -> Any:
    from polyhost.container.layers import index
    from polyhost.container.layers.builder import LayerPlan

    variables = index.variables_of(environment.read())
    return LayerPlan(source, shutil.disk_usage(work).free, _SECONDS, variables, report=partial(typer.echo, err=True))


def _image(freeze: Path | None) -> Any:
    from polyhost.container.layers.image import Image

    return Image.of_process() if freeze is None else Image.of_freeze(freeze.read_text(), str(freeze))


@contextlib.contextmanager
def _as_command_errors() -> Iterator[None]:
    from polyhost.handlers.errors import HandlerError

    try:
        yield
    except ModuleNotFoundError as error:
        raise CommandError(f"{error.name} is missing: pip install 'polyhost[requirements]'") from error
    except HandlerError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}") from error


def _download(chosen: list[str], folder: Path, variables: dict[str, str], target: Path) -> None:
    """Fetch the wheels by pip: uv installs packages, and keeps no wheels."""
    if not chosen:
        return
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(target), *_origin(folder, variables), *chosen]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = " ".join(line.strip() for line in done.stderr.splitlines() if line.strip())
        raise CommandError(f"the wheels cannot be fetched: {reason or 'pip failed'}")


def _origin(folder: Path, variables: dict[str, str]) -> Iterator[str]:
    """Yield pip's options for what uv's variables say; pip reads its own itself."""
    if first := variables.get("UV_DEFAULT_INDEX") or variables.get("UV_INDEX_URL"):
        yield from ("--index-url", first)
    for further in (variables.get("UV_INDEX") or variables.get("UV_EXTRA_INDEX_URL") or "").split():
        yield from ("--extra-index-url", further.rpartition("=")[2] if not further.startswith("http") else further)
    for place in (variables.get("UV_FIND_LINKS") or "").replace(",", " ").split():
        yield from ("--find-links", place)
    if (folder / "code" / "wheels").is_dir():
        yield from ("--find-links", str(folder / "code" / "wheels"))
