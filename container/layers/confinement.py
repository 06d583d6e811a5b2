"""What uv may reach while it reads strangers' wheels: it writes to its workplace only, and reads no model's files."""

import contextlib
import os
import resource
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from polyhost.container.config import Config, Isolation
from polyhost.container.isolation import kernel
from polyhost.container.isolation.confinement import protected_folders, usable_landlock
from polyhost.container.isolation.landlock import Access, Ruleset, open_place
from polyhost.container.isolation.limits import lower
from polyhost.container.isolation.places import AllowedPath, devices, readable
from polyhost.container.system.prctl import signal_on_parent_death


def confine(config: Config, run_dir: Path, index: Mapping[str, str], workplace: Path) -> None:
    """Confine this process, which is to become uv; it ends with its parent. Raises OSError."""
    signal_on_parent_death(signal.SIGKILL)
    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_FSIZE, config.layers_bytes)
    kernel.set_no_new_privileges()
    version = 0 if config.isolation is Isolation.OFF else usable_landlock()
    if version:
        _enter(version, [*_places(config, run_dir, index), AllowedPath(workplace, Access.WRITE)])


def _places(config: Config, run_dir: Path, index: Mapping[str, str]) -> Iterator[AllowedPath]:
    yield from readable(protected_folders(config, run_dir))
    yield from devices()
    for value in index.values():
        for word in value.replace(",", " ").split():
            path = urlsplit(word).path if word.startswith("file:") else word
            if path.startswith("/"):
                yield AllowedPath(Path(path), Access.READ)  # a folder of wheels, a certificate, a netrc


def _enter(version: int, places: list[AllowedPath]) -> None:
    ruleset = Ruleset(version)
    for place in places:
        with contextlib.suppress(OSError):  # there is no such file, or this user may not reach it
            descriptor, possible = open_place(place.path)
            ruleset.allow(descriptor, place.access & possible)
            os.close(descriptor)
    ruleset.enter()
    ruleset.close()
