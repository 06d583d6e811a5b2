"""A container with a victim and an attacker."""

import inspect
import json
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx

from polyhost.container.system.procfs import parent_of
from tests.support import other_machine
from tests.support.container import ENTRY_POINT, ContainerProcess, running
from tests.support.models import place
from tests.support.processes import query

# Not below /tmp, which models share: what lies there cannot be kept from them.
_PARENT = "/var/tmp"


@dataclass(frozen=True)
class Denied:
    """An attack that failed with an exception."""

    error: str  # its class

    def __str__(self) -> str:
        return self.error


class Attacked(Protocol):
    """A container with an attacker, here or in the image."""

    def attack(self, function: Callable[..., Any], **arguments: Any) -> Any:
        """Have the attacker call the function; return what that returns, or Denied."""


@dataclass(frozen=True)
class Scene:
    """The parties of an attack, and what the attacker may know of them."""

    container: ContainerProcess
    victim: str
    attacker: str
    state_dir: Path
    home: Path

    @property
    def victim_folder(self) -> Path:
        """The victim's model directory."""
        return self.container.folder(self.victim)

    @property
    def victim_pid(self) -> int:
        """The victim's worker."""
        return int(self._of_victim("pid"))

    @property
    def victim_temp_file(self) -> Path:
        """A file in the victim's temp folder, which holds its secret."""
        return Path(self._of_victim("temp_file"))

    @property
    def run_dir(self) -> Path:
        """The container's run folder."""
        return self.victim_temp_file.parents[2]

    def _of_victim(self, key: str) -> Any:
        response = self.container.invoke(self.victim)
        assert response.status_code == 200, response.text
        return response.json()[key]

    def shared_processes(self) -> dict[str, int]:
        """Return the pids of the processes that serve all models, by what they are."""
        container = self.container
        front_end = "polyhost.container.native" if container.native else "polyhost.container.mms"
        zygote = "polyhost.container.forkserver.zygote"
        fork_server = container.process_of("polyhost.container.forkserver").pid
        # A worker's command line is its zygote's.
        zygotes = [process.pid for process in container.processes() if zygote in (query(process.cmdline) or [])]
        return {
            "supervisor": container.process.pid,
            "fork server": fork_server,
            "front end": container.process_of(front_end).pid,
            "log collector": container.process_of("polyhost.container.log_collector").pid,
            "zygote": next(pid for pid in zygotes if parent_of(pid) == fork_server),
        }

    def attack(self, function: Callable[..., Any], **arguments: Any) -> Any:
        """Have the attacker call the function; return what that returns, or Denied."""
        return outcome_of(request(self.container, self.attacker, function, **arguments))

    def check_that_all_serve(self) -> None:
        """Check that the container and the victim are well after an attack."""
        assert self.container.client.ping()
        assert self.container.invoke(self.victim).status_code == 200


def request(container: ContainerProcess, model: str, function: Callable[..., Any], **arguments: Any) -> httpx.Response:
    """Have a model of kind `runs_code` call the function with these arguments; return the response."""
    return container.invoke(model, body_of(function, **arguments))


def body_of(function: Callable[..., Any], **arguments: Any) -> str:
    """Return the body that has a model of kind `runs_code` call the function."""
    source = textwrap.dedent(inspect.getsource(function))
    return json.dumps({"source": source, "function": function.__name__, "arguments": arguments})


def outcome_of(response: httpx.Response) -> Any:
    """Return what the function returned, or Denied."""
    assert response.status_code == 200, response.text
    outcome = response.json()
    return Denied(outcome["raised"].partition(":")[0]) if "raised" in outcome else outcome["returned"]


@contextmanager
def staged(front: str, machine: Sequence[str] = (), **environ: str) -> Iterator[Scene]:
    """Run a container with a victim and an attacker. `machine`: options of tests/support/other_machine.py."""
    entry_point: Sequence[str | Path] = (other_machine.SCRIPT, *machine, ENTRY_POINT) if machine else (ENTRY_POINT,)
    with tempfile.TemporaryDirectory(prefix="pt-", dir=_PARENT) as folder:
        state_dir, home = Path(folder, "state"), Path(folder, "home")
        Path(folder).chmod(0o711)  # models may have users of their own
        # Not the home of whoever runs the tests: an attack that succeeds writes to it.
        (home / ".cache").mkdir(parents=True)
        (home / ".config" / "app").mkdir(parents=True)
        (home / ".bashrc").write_text("original")
        settings = {"POLYHOST_ZYGOTES": "bare", "POLYHOST_STATE_DIR": str(state_dir), "HOME": str(home), **environ}
        with running(Path(folder), front, entry_point=entry_point, **settings) as container:
            victim, attacker = (place(kind, container.models_dir) for kind in ("holds_a_secret", "runs_code"))
            for name in (victim, attacker):
                container.loaded(name)
            yield Scene(container, victim, attacker, state_dir, home)
