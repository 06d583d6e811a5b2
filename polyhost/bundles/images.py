"""The image of a bundle: its name, and the image itself, as the container engine saves it."""

import json
import shutil
import subprocess
import tarfile
from pathlib import Path

from polyhost.bundles.errors import BundleError

ENGINES = ("docker", "podman")


def find_engine(given: str | None) -> str:
    """Return the engine's command: the one given, or the first that is installed. Raises BundleError."""
    engines = ENGINES if given is None else (given,)
    found = next((engine for engine in engines if shutil.which(engine)), None)
    if found is None:
        raise BundleError(f"{' and '.join(engines)} are not on PATH; install one, or leave out --save-image")
    return found


def save(engine: str, image: str, target: Path) -> str:
    """Write the image to a file, and return the name that it has there. Raises BundleError."""
    _run(engine, "image", "inspect", "--format", "{{.Id}}", image)
    _run(engine, "save", "--output", str(target), image)
    return _saved_name(target, image)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = done.stderr.strip().replace("\n", "; ")[-500:]
        raise BundleError(f"{' '.join(command)} failed with status {done.returncode}: {said}")


def _saved_name(file: Path, image: str) -> str:
    """Return the name under which an engine loads the image: podman adds a registry to it."""
    try:
        with tarfile.open(file) as tar:
            content = tar.extractfile("manifest.json")
            assert content is not None
            entries = json.load(content)
        names = [name for entry in entries for name in entry["RepoTags"] or ()]
    except (OSError, tarfile.TarError, KeyError, ValueError, TypeError) as error:
        raise BundleError(f"the saved image {file} has no list of names: {error}") from error
    if not names:
        raise BundleError(f"the image {image} has no name once it is saved; give it by name and tag, not by its id")
    return str(names[0])
