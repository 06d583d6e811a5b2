"""Models on their way from a folder into a bundle."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from polyhost import archives
from polyhost.bundles.errors import BundleError
from polyhost.bundles.layout import BundledModel

_WILDCARDS = frozenset("*?[")


def choose(store: Path, wanted: Iterable[str]) -> list[str]:
    """Return the names of a store's models that are wanted, as names or patterns; all of them if nothing is.

    The names are those that a container with this store takes. Raises BundleError.
    """
    import asyncio  # with all that it needs it is a tenth of the command line's start

    return asyncio.run(_choose(store, list(wanted) or ["*"]))


async def _choose(store: Path, wanted: list[str]) -> list[str]:
    from polyhost.container.model_store.settings import StoreSettings
    from polyhost.container.model_store.source.store import ModelStore
    from polyhost.container.model_store.target_models import matches
    from polyhost.model_cache.errors import DownloadError, TargetOutsideError

    place = ModelStore(StoreSettings(str(store.absolute()), None, None, 0, (), ()), {})
    found: dict[str, None] = {}
    for name in wanted:
        try:
            if _WILDCARDS.isdisjoint(name):
                fitting = [(await place.find(name)).target]
            else:
                fitting = [other for other in await place.names() if matches(other, [name])]
        except TargetOutsideError as error:
            raise BundleError(f"model {name!r}: {error}") from error
        except DownloadError as error:
            raise BundleError(
                f"model {name!r} is not in {store}; give the path of an archive or folder below it"
            ) from error
        if not fitting:
            raise BundleError(f"{store} has no model {name!r}; put archives (.tar.gz) or unpacked model folders there")
        found.update(dict.fromkeys(fitting))
    return list(found)


def copy(name: str, source: Path, target: Path, work: Path) -> BundledModel:
    """Copy an archive or a model's folder, and check that a container could unpack the copy.

    `work`: a folder for that. Raises BundleError.
    """
    if not name.isprintable() or "\\" in name:  # sha256sum(1) writes such names in another form
        raise BundleError(f"model {name!r}: a bundle takes printable names without backslashes; rename it")
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        return BundledModel(name, sum(_copy_file(path, target / path.relative_to(source)) for path in _files(source)))
    size = _copy_file(source, target)
    with TemporaryDirectory(dir=work) as unpacked:
        try:
            archives.unpack(target, Path(unpacked), shutil.disk_usage(unpacked).free)
        except archives.InvalidArchiveError as error:
            raise BundleError(
                f"model {name!r}: {source} cannot be unpacked: {error}; make it with polyhost pack"
            ) from error
        except OSError as error:
            raise BundleError(f"model {name!r}: cannot unpack {source}: {error}") from error
    return BundledModel(name, size)


def _files(folder: Path) -> Iterator[Path]:
    found = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    if not found:
        raise BundleError(f"{folder} has no files; give a model's folder")
    for path in found:
        name = str(path.relative_to(folder))
        if path.is_symlink() or not path.is_file():
            raise BundleError(f"{path} is no file; put the file itself there, as a bundle has no links or devices")
        if not name.isprintable() or "\\" in name:
            raise BundleError(f"{folder} holds {name!r}; a bundle takes printable names without backslashes; rename it")
        yield path


def _copy_file(source: Path, target: Path) -> int:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        return target.stat().st_size
    except OSError as error:
        raise BundleError(f"cannot copy {source} to {target}: {error.strerror}") from error
