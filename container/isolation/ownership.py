"""A model's folder, which its own user may use: by the group, so that whoever unpacked it stays the owner."""

import os
import stat
from collections.abc import Collection
from pathlib import Path

from polyhost.events import get_logger

logger = get_logger(__name__)

_GROUP, _OTHERS = 0o070, 0o007
_ENTER = stat.S_IROTH | stat.S_IXOTH


def give(folder: Path, group: int, roots: Collection[Path]) -> None:
    """Let the group do with the files below the folder what their owner may; others do not get in.

    `roots`: the folders below which models lie; what is between one and the folder is opened for passing through.

    Nothing is done for a folder that the group has had before: its model's code may have run since. Where nothing can
    be changed, as on a volume that is mounted read-only, the log names a file that the group cannot read.
    """
    if folder.stat().st_gid == group:
        return
    try:
        for parent in folder.parents:
            if any(parent != root and parent.is_relative_to(root) for root in roots):
                _let_pass(parent, group)
        _give_tree(folder, group)
    except OSError as error:
        if unreadable := _first_unreadable(folder):
            message = (
                "the model's user cannot read %s, and that cannot be changed (%s): give others the right to read it"
            )
            logger.warning(message, unreadable, error.strerror)


def _let_pass(folder: Path, group: int) -> None:
    mode = stat.S_IMODE(folder.stat().st_mode)
    if not mode & stat.S_IXOTH:
        os.chown(folder, -1, group)
        folder.chmod(mode | stat.S_IXGRP)


def _give_tree(folder: Path, group: int) -> None:
    for _, _, names, descriptor in os.fwalk(folder, topdown=False):
        for name in names:
            _give_file(name, descriptor, group)
        # The folder itself comes last of all, and says that it is done.
        _give(descriptor, group, 0)
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _give(top, group, _OTHERS)
    finally:
        os.close(top)


def _give_file(name: str, folder: int, group: int) -> None:
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    # A file with several names may lie elsewhere, too.
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        return
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        _give(descriptor, group, 0)
    finally:
        os.close(descriptor)


def _give(descriptor: int, group: int, removed: int) -> None:
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o777
    os.fchown(descriptor, -1, group)
    os.fchmod(descriptor, ((mode & ~_GROUP) | (mode >> 3 & _GROUP)) & ~removed)


def _first_unreadable(folder: Path) -> str | None:
    for place, _, names in os.walk(folder):
        if os.stat(place).st_mode & _ENTER != _ENTER:  # noqa: PTH116
            return place
        for name in names:
            path = os.path.join(place, name)  # noqa: PTH118
            if not os.lstat(path).st_mode & stat.S_IROTH:
                return path
    return None
