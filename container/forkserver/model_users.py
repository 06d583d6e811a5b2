"""The users of models (isolation/users.py): one for each model's folder, free again once its processes have ended."""

import contextlib
import errno
import os
from collections import Counter, deque
from pathlib import Path

from polyhost.container.forkserver.records import HostedModel
from polyhost.container.isolation.users import kill_processes_of
from polyhost.container.system.procfs import users_of_processes


class ModelUsers:
    """Gives out the users of a range, those that have been free for longest first."""

    def __init__(self, uids: tuple[int, int] | None) -> None:
        """`uids`: the first and the last; None: models have no users of their own."""
        self._range = range(uids[0], uids[1] + 1) if uids else range(0)
        # Not those of another container's models, nor of what a fork server before this one has left.
        taken = users_of_processes() if uids else set[int]()
        self._free = deque(uid for uid in self._range if uid not in taken)
        self._held: dict[Path, int] = {}  # by the model's folder: whoever loads it under two names, loads one model
        self._holders: Counter[int] = Counter()
        self._ending: set[int] = set()
        self._killers: set[int] = set()  # pids

    def claim(self, model: HostedModel) -> None:
        """Give the model a user, who gets its temp folder. Raises OSError if all are taken."""
        if not self._range:
            return
        folder = model.directory.resolve()
        uid = self._held.get(folder) or self._former(model) or self._take()
        os.chown(model.temp_dir, uid, uid)
        self._held[folder] = model.user = uid
        self._holders[uid] += 1

    def _former(self, model: HostedModel) -> int | None:
        """Return the user whom a fork server before this one has given the model."""
        uid = model.temp_dir.stat().st_uid
        if uid not in self._range:
            return None
        with contextlib.suppress(ValueError):  # it had no process when this fork server began
            self._free.remove(uid)
        return uid

    def _take(self) -> int:
        if not self._free:
            message = f"all {len(self._range)} users of models are in use (POLYHOST_MODEL_UIDS)"
            raise OSError(errno.EUSERS, message)
        return self._free.popleft()

    def release(self, model: HostedModel, has_leftovers: bool) -> None:
        """Take the user back from a model whose workers have ended, and kill what else it has left.

        `has_leftovers`: whether anything is known to be left.
        """
        uid, model.user = model.user, None
        if uid is None:
            return
        self._holders[uid] -= 1
        if not self._holders[uid]:
            del self._holders[uid], self._held[model.directory.resolve()]
            self._ending.add(uid)
            if has_leftovers:
                self._kill(uid)

    def check(self) -> None:
        """Free the users whose processes have all ended, and kill those that are left; to be called now and then."""
        self._reap_killers()
        alive = users_of_processes() if self._ending else set[int]()
        for uid in list(self._ending):
            if uid in alive:
                self._kill(uid)
            else:
                self._ending.remove(uid)
                self._free.append(uid)

    def _kill(self, uid: int) -> None:
        with contextlib.suppress(OSError):  # there is no process for it now
            self._killers.add(kill_processes_of(uid))

    def _reap_killers(self) -> None:
        """Reap those that have ended, unless the reaper has: as zombies they would count as their user's."""
        for pid in list(self._killers):
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    continue
            self._killers.remove(pid)
