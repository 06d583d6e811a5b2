"""The memory that the models of a folder take, by the container's own estimate or its measurements."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from polyhost.cli import archive, environment
from polyhost.cli.errors import CommandError

_ESTIMATES = "estimates.json"


def of_store(folder: Path, state: Path | None, work: Path) -> Mapping[str, int]:
    """Return the bytes by name of each model of a store that is a folder.

    `state` is a container's POLYHOST_STATE_DIR, or its estimates.json: what was measured comes before an estimate from
    the files. Archives are unpacked, one after the other, into `work`. Raises CommandError.
    """
    import asyncio  # with all that it needs it is a tenth of the command line's start

    need = _estimator(None if state is None else _estimates_file(state))
    found = {}
    for name, directory in asyncio.run(_models(folder)).items():
        if directory.is_dir():
            found[name] = need(directory)
            continue
        with TemporaryDirectory(dir=work) as unpacked:
            archive.unpack(directory, Path(unpacked))
            found[name] = need(Path(unpacked))
    if not found:
        raise CommandError(f"{folder} has no models; put archives (.tar.gz) or unpacked model folders there")
    return found


async def _models(folder: Path) -> dict[str, Path]:
    """Return each model's archive or folder by its name, as a container with this store finds them."""
    from polyhost.container.model_store.settings import StoreSettings
    from polyhost.container.model_store.source.store import ModelStore
    from polyhost.model_cache.errors import DownloadError

    store = ModelStore(StoreSettings(str(folder.absolute()), None, None, 0, (), ()), {})
    try:
        versions = [await store.find(name) for name in await store.names()]
    except DownloadError as error:
        raise CommandError(str(error)) from error
    return {version.target: Path(version.folder or version.place.key) for version in versions}


def _estimator(file: Path | None) -> Callable[[Path], int]:
    """Return a function that tells what the model in a folder takes, by a file of measurements or an estimate."""
    from polyhost.container.memory.estimates import Estimates
    from polyhost.container.memory.fingerprints import Fingerprints
    from polyhost.handlers import lookup
    from polyhost.handlers.frameworks import BARE

    estimates, settings = Estimates(file), environment.handler_settings()

    def need(directory: Path) -> int:
        framework = lookup.framework_of(directory, None, settings) or BARE
        return estimates.need(Fingerprints(None).of(framework, directory))

    return need


def _estimates_file(state: Path) -> Path:
    file = state / _ESTIMATES if state.is_dir() else state
    try:
        json.loads(file.read_text())  # what a container cannot read, it learns anew; here it is a mistake
    except (OSError, ValueError) as error:
        hint = "give the POLYHOST_STATE_DIR of a container that has served models"
        raise CommandError(f"cannot read the measurements {file}: {error}; {hint}") from error
    return file
