"""Opens a bundle for serving: nothing of it is used before all of it was checked."""

from pathlib import Path

from polyhost.bundles import checksums, settings
from polyhost.bundles.errors import BundleError
from polyhost.bundles.layout import MODELS, Manifest


def open_bundle(folder: Path) -> dict[str, str]:
    """Check a bundle's files, and return the variables of a container that serves it. Raises BundleError."""
    if not folder.is_dir():
        raise BundleError(f"{folder} is no folder; give one that polyhost bundle has made")
    checksums.verify(folder)
    manifest = Manifest.read(folder)
    if not (folder / MODELS).is_dir():
        raise BundleError(f"{folder} has no models; make the bundle again")
    return settings.for_serving(folder, manifest.settings)
