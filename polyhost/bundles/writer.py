"""Makes a bundle: beside its place first, so that no half of one is ever there."""

import shutil
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from tempfile import mkdtemp

from polyhost import __version__
from polyhost.bundles import checksums, images, models, settings
from polyhost.bundles.errors import BundleError
from polyhost.bundles.layout import IMAGE, IMAGE_NAME, MANIFEST, MODELS, RUN, BundledModel, Manifest


def write(
    target: Path,
    store: Path,
    names: Sequence[str],
    variables: Mapping[str, str],
    *,
    work: Path,
    image: str | None = None,
    engine: str | None = None,
) -> Manifest:
    """Write a bundle of a store's models to a place where nothing is yet.

    With an engine the image is saved into the bundle. `work`: a folder for temporary files. Raises BundleError, and
    leaves nothing at the place then.
    """
    if target.exists() or target.is_symlink():
        raise BundleError(f"{target} exists; remove it, or give another place")
    try:
        folder = Path(mkdtemp(prefix=f".{target.name}.", dir=target.absolute().parent))
    except OSError as error:
        raise BundleError(f"cannot make {target}: {error.strerror}") from error
    try:
        manifest = _fill(folder, store, names, variables, work, image, engine)
        folder.chmod(0o755)  # mkdtemp's is for its owner alone; a container may have another user
        folder.rename(target)
    except OSError as error:
        raise BundleError(f"cannot write the bundle {target}: {error.filename}: {error.strerror}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return manifest


def _fill(
    folder: Path,
    store: Path,
    names: Sequence[str],
    variables: Mapping[str, str],
    work: Path,
    image: str | None,
    engine: str | None,
) -> Manifest:
    copied = _copy_models(folder / MODELS, store, names, work)
    if image is not None:
        if engine is not None:
            image = images.save(engine, image, folder / IMAGE)
        (folder / IMAGE_NAME).write_text(f"{image}\n")
        run = folder / RUN
        run.write_bytes(resources.files("polyhost.bundles").joinpath(RUN).read_bytes())
        run.chmod(0o755)  # it is to be run
    settings.write(folder, variables)
    manifest = Manifest(__version__, copied, dict(variables), image, image is not None and engine is not None)
    (folder / MANIFEST).write_text(manifest.to_json())
    checksums.write(folder)
    return manifest


def _copy_models(target: Path, store: Path, names: Sequence[str], work: Path) -> tuple[BundledModel, ...]:
    target.mkdir()
    return tuple(models.copy(name, store / name, target / name, work) for name in names)
