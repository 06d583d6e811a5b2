"""One container for each front end, a process of this machine."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.channels.parties import ATTACKER, VICTIM, environ, write_model
from tests.support.container import ContainerProcess, running


@dataclass
class Hostile:
    """A container with a victim and an attacker."""

    container: ContainerProcess
    victim: str
    attacker: str

    @property
    def native(self) -> bool:
        """Whether it has the native front end."""
        return self.container.native

    @property
    def port(self) -> int:
        """Its port."""
        return self.container.port

    def attack(self, code: str) -> str:
        """Run the code in the attacker's worker; return what it has assigned to `result`."""
        response = self.container.invoke(self.attacker, code, "text/plain")
        assert response.status_code == 200, response.text
        return response.text

    def make(self, name: str, source: str) -> str:
        """Write one more model, to be loaded under this name."""
        write_model(self.folder(name), source)
        return name

    def folder(self, name: str) -> Path:
        """Return a model's directory."""
        return self.container.folder(name)

    def names(self) -> list[str]:
        """Return the names of the loaded models."""
        return self.container.names()

    def log_text(self) -> str:
        """Return the whole log."""
        return self.container.log_text()

    def events(self, **fields: Any) -> list[dict[str, Any]]:
        """Return the log's events that have these fields."""
        return self.container.events(**fields)


@pytest.fixture(scope="session")
def hostile(front: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    # What is tested here does not depend on the isolation mode.
    settings = {"POLYHOST_ZYGOTES": "bare", "POLYHOST_ISOLATION": "off", **environ()}
    with running(tmp_path_factory.mktemp("hostile"), front, **settings) as container:
        started = Hostile(container, "victim", "attacker")
        container.loaded(started.make("victim", VICTIM))
        container.loaded(started.make("attacker", ATTACKER))
        pid = container.invoke("victim", "at first", "text/plain").text
        yield started
        assert container.invoke("victim", "at last", "text/plain").text == pid
