"""What a zygote prepares, and a worker enters before it opens a file of its model."""

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from polyhost.container.config import Config, Isolation
from polyhost.container.isolation import kernel, landlock, ownership, seccomp, users
from polyhost.container.isolation.capabilities import drop_capabilities
from polyhost.container.isolation.home import Home
from polyhost.container.isolation.landlock import Access, Ruleset, open_place
from polyhost.container.isolation.limits import Limits
from polyhost.container.isolation.places import AllowedPath, devices, has_cuda, holds_any, readable, writable
from polyhost.handlers.script import submitted_code
from polyhost.handlers.settings import Settings

# In the strict mode: where users and orchestrators keep what is theirs.
_HIDDEN = (Path("/root"), Path("/home"), Path("/run/secrets"), Path("/var/tmp"))  # noqa: S108


_ROUNDS = 8  # the interpreter specializes a function at its eighth call or so


class Confinement:
    """The confinement of the workers of one zygote. Forks share what is opened here, and enter it each for itself.

    Three steps, for the first two cost more than the last: the zygote opens the places that all models may reach, once;
    a fork makes its rules of them and gives up its privileges (`prepare`), a spare before its load comes; the load adds
    the model's own folders and enters (`enter`).
    """

    def __init__(
        self, config: Config, run_dir: Path, places: Iterable[AllowedPath], *, landlock_abi: int, seccomp_filter: bool
    ) -> None:
        """`places`: what all models may reach, used if there is Landlock."""
        self._abi = landlock_abi
        self._filter = seccomp_filter
        original = Path(config.home) if config.home and config.isolation is Isolation.STANDARD else None
        self._home = Home(run_dir, original)
        self._limits = Limits(config.worker_descriptors, config.worker_file_bytes)
        self._prepared = False
        self._processes = config.worker_processes
        self._model_roots = config.model_roots
        self._cuda = has_cuda()
        self._tasks = -1
        self._ruleset: Ruleset | None = None
        self._places: list[tuple[int, int]] = []  # descriptor, access
        for place in places if landlock_abi else ():
            with contextlib.suppress(OSError):  # there is no such file, or this user may not reach it
                descriptor, possible = open_place(place.path)
                self._places.append((descriptor, place.access & possible))

    @classmethod
    def of(cls, config: Config, run_dir: Path) -> "Confinement | None":
        """Return what the settings and the kernel have for the workers; None if the settings switch it off."""
        if config.isolation is Isolation.OFF:
            return None
        abi = usable_landlock()
        places = common_places(config, run_dir) if abi else ()
        return cls(config, run_dir, places, landlock_abi=abi, seccomp_filter=seccomp.is_supported())

    def warm_up(self) -> None:
        """Run in the zygote, a few times, what each fork will run, so that forks share its memory pages."""
        for _ in range(_ROUNDS):
            if self._abi:
                self._make_ruleset().close()
            if self._filter:
                seccomp.program(os.getpid())

    def prepare(self) -> None:
        """Do in a fork what does not depend on the model. Raises OSError."""
        if self._prepared:
            return
        self._prepared = True
        if self._abi:
            self._ruleset = self._make_ruleset()
            for descriptor, _ in self._places:
                os.close(descriptor)
            self._places = []
        self._home.prepare()
        self._limits.enter()
        kernel.set_no_new_privileges()
        drop_capabilities()
        if self._filter:
            seccomp.install(seccomp.program(os.getpid()))

    def enter(self, model_dir: Path, temp_dir: Path, user: int | None = None, layer: Path | None = None) -> None:
        """Confine this process to the model's folders, and to what all models may reach, for good. Raises OSError.

        `user`: whom it is to become; None: it stays who it is. `layer`: a folder that it may read besides.
        """
        self.prepare()
        home = self._home.move_into(temp_dir)
        os.environ["HOME"] = str(home)
        if user is not None:
            os.chown(home, user, user)
            os.fchown(1, user, user)  # what a program prints to by its path, /dev/stdout
            ownership.give(model_dir, user, self._model_roots)
            users.become(user, self._processes)
        if self._ruleset is not None:
            folders = [(model_dir, Access.WRITE), (temp_dir, Access.WRITE), *([(layer, Access.READ)] if layer else [])]
            for folder, access in folders:
                descriptor, possible = open_place(folder)
                self._ruleset.allow(descriptor, access & possible)
                os.close(descriptor)
            if self._cuda:
                self._allow_thread_names(self._ruleset)
            self._ruleset.enter()
            self._ruleset.close()
            self._ruleset = None

    def _allow_thread_names(self, ruleset: Ruleset) -> None:
        """Let this process name its threads (/proc/self/task/TID/comm): CUDA does not start if it cannot.

        Only where there is CUDA, for the process's oom_score_adj lies there too. The descriptor stays open: without one
        the kernel may forget this inode of proc's, and make another, for which there is no rule.
        """
        self._tasks, _ = open_place("/proc/self/task")
        ruleset.allow(self._tasks, Access.READ | Access.WRITE_FILE | Access.TRUNCATE)

    def _make_ruleset(self) -> Ruleset:
        ruleset = Ruleset(self._abi)
        for descriptor, access in self._places:
            ruleset.allow(descriptor, access)
        return ruleset


def usable_landlock() -> int:
    """Return the version of Landlock, 0 if the kernel has none that could be used."""
    version = landlock.abi()
    return version if version >= landlock.MIN_ABI else 0


def common_places(config: Config, run_dir: Path) -> list[AllowedPath]:
    """Return what all models may reach, the code that lies beside them included."""
    protected = protected_folders(config, run_dir)
    strict = config.isolation is Isolation.STRICT
    shared = () if strict else config.shared_folders
    return [
        *readable(protected, _hidden(config.home) if strict else ()),
        *devices(),
        *writable(shared, protected),
        *(AllowedPath(folder, Access.READ) for folder in _named_folders(config, protected)),
    ]


def _hidden(home: str | None) -> list[Path]:
    """Return what no model may look into in the strict mode. A user without an entry in /etc/passwd is at home in /."""
    return [*_HIDDEN, *([Path(home)] if home and Path(home) != Path("/") else [])]


def _named_folders(config: Config, protected: Collection[Path]) -> Iterator[Path]:
    """Yield where the settings say that code and base models lie: perhaps where not everything is allowed."""
    settings = Settings.of_process()
    if submitted := submitted_code.folder(settings):
        yield submitted
    if settings.base_models and not holds_any(settings.base_models, protected):
        yield settings.base_models
    handler = Path(config.handler.partition(":")[0])
    if handler.is_absolute():
        yield handler if holds_any(handler.parent, protected) else handler.parent


def protected_folders(config: Config, run_dir: Path) -> list[Path]:
    """Return the folders that no model may reach, but for its own part of them."""
    return [run_dir, *config.model_roots, *map(Path, filter(None, [config.state_dir]))]
