"""One container for each front end, with a victim that serves all along and an attacker that runs what it is sent."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.container import ContainerProcess, running

VICTIM = """
import os

def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    print("victim says", bytes(body).decode())
    return f"{os.getpid()}"
"""
ATTACKER = """
import ctypes, fcntl, glob, http.client, json, os, signal, socket, stat, subprocess, sys, threading, time

def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    scope = {**globals(), "result": ""}
    exec(body, scope)
    return str(scope["result"])
"""
SECRET = "hunter2hunter2"  # of a variable that models do not get


@dataclass
class Hostile:
    """A container with a victim and an attacker."""

    container: ContainerProcess
    victim: str
    attacker: str

    def attack(self, code: str) -> str:
        """Run the code in the attacker's worker; return what it has assigned to `result`."""
        response = self.container.invoke(self.attacker, code, "text/plain")
        assert response.status_code == 200, response.text
        return response.text

    def make(self, name: str, source: str) -> str:
        """Write one more model, to be loaded under this name."""
        folder = self.container.folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "inference.py").write_text(source)
        return name


@pytest.fixture(scope="session")
def hostile(front: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    environ = {
        "POLYHOST_ZYGOTES": "bare",
        "POLYHOST_ISOLATION": "off",  # what is tested here does not depend on it
        "POLYHOST_WITHHOLD": "MY_*, DB_PASSWORD",
        "MY_SECRET": SECRET,
        "SEEN": "yes",
    }
    with running(tmp_path_factory.mktemp("hostile"), front, **environ) as container:
        started = Hostile(container, "victim", "attacker")
        container.loaded(started.make("victim", VICTIM))
        container.loaded(started.make("attacker", ATTACKER))
        pid = container.invoke("victim", "at first", "text/plain").text
        yield started
        assert container.invoke("victim", "at last", "text/plain").text == pid
