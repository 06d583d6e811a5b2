"""A container with a victim that serves all along and an attacker that runs what it is sent.

The attacks on what models share with the container, its log, management routes and environment, are tried on a process
of this machine and in the image (tests/image/test_hostile_channels.py).
"""

import secrets
from pathlib import Path
from typing import Any, Protocol

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


def environ() -> dict[str, str]:
    """Return the variables of which the attacks on the environment know; `SEEN` tells one container's processes."""
    return {"POLYHOST_WITHHOLD": "MY_*, DB_PASSWORD", "MY_SECRET": SECRET, "SEEN": secrets.token_hex(8)}


def write_model(folder: Path, source: str) -> None:
    """Write a model directory with this script."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "inference.py").write_text(source)


class Parties(Protocol):
    """What the attacks need of a container where `victim` and `attacker` are loaded."""

    @property
    def native(self) -> bool:
        """Whether it has the native front end."""

    @property
    def port(self) -> int:
        """Its port, as its models reach it."""

    def attack(self, code: str) -> str:
        """Run the code in the attacker's worker; return what it has assigned to `result`."""

    def make(self, name: str, source: str) -> str:
        """Write one more model, to be loaded under this name."""

    def folder(self, name: str) -> Path:
        """Return a model's directory, as the container knows it."""

    def names(self) -> list[str]:
        """Return the names of the loaded models."""

    def log_text(self) -> str:
        """Return the whole log."""

    def events(self, **fields: Any) -> list[dict[str, Any]]:
        """Return the log's events that have these fields."""
