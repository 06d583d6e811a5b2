"""What is in force, said in the container's log once, at its start."""

from collections.abc import Iterator
from pathlib import Path

from polyhost.container.config import Config, Isolation
from polyhost.container.isolation import landlock, seccomp
from polyhost.container.isolation.confinement import protected_folders, usable_landlock
from polyhost.container.isolation.places import holds_any
from polyhost.events import get_logger

logger = get_logger(__name__)


def log_what_is_in_force(config: Config, run_dir: Path) -> None:
    """Log what keeps models apart, and what this kernel or this layout leaves open."""
    if config.isolation is Isolation.OFF:
        logger.warning("POLYHOST_ISOLATION=off: models can reach one another and the container's own processes")
        return
    version, has_filter = usable_landlock(), seccomp.is_supported()
    closed = ["no new privileges", *(["seccomp"] if has_filter else [])]
    if version:
        closed.append(f"Landlock {version} ({', '.join(_closed_by(version))})")
    if config.model_uids:
        closed.append(f"a user for each model ({config.model_uids[0]} to {config.model_uids[1]})")
    logger.info("isolation %s: %s", config.isolation, ", ".join(closed))
    for gap in _gaps(version, has_filter):
        logger.warning("isolation %s is incomplete: %s", config.isolation, gap)
    if version and config.isolation is Isolation.STANDARD:
        _log_folders_left_out(config, run_dir)


def _closed_by(version: int) -> Iterator[str]:
    yield "files"
    yield "memory"
    if version >= landlock.ABI_SCOPES:
        yield "signals"
        yield "abstract sockets"


def _gaps(version: int, has_filter: bool) -> Iterator[str]:
    if not version:
        yield (
            "this kernel has no Landlock that could be used (Linux 5.19 or later, `landlock` among its security"
            " modules): models can reach one another's files and memory and send signals to any process"
        )
    elif version < landlock.ABI_SCOPES:
        yield f"Landlock {version} lets models send signals to any process; that takes Linux 6.12"
    if version and version < landlock.ABI_TRUNCATE:
        yield f"Landlock {version} lets models truncate files of others; that takes Linux 6.2"
    if not has_filter:
        yield "there is no seccomp filter for this kernel or architecture"


def _log_folders_left_out(config: Config, run_dir: Path) -> None:
    """Name the shared folders that models cannot use, and why."""
    for path in protected_folders(config, run_dir):
        for folder in config.shared_folders:
            if holds_any(Path(folder), [path]):
                message = "models cannot write to %s: it holds %s, which no model may reach; they have their TMPDIR"
                logger.warning(message, folder, path)
