"""Environments of AWS's clients: each in a folder of its own below build/, made once from a lock, with hashes."""

import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.support.container import ROOT

FOLDER = Path(__file__).parent
BUILD = ROOT / "build" / "sdks"
INSTALL_S = 900.0
# What uv and npm say where no registry answers.
UNREACHABLE = re.compile(
    r"Failed to fetch|error sending request|Could not connect|dns error|Connection refused|ECONNREFUSED|ENOTFOUND"
    r"|EAI_AGAIN|ETIMEDOUT|ENETUNREACH|network request to \S+ failed",
    re.I,
)


def python_with(name: str) -> Path:
    """Return the Python of an environment that has what `locks/NAME.txt` lists. Skip the test if it cannot be made."""
    lock = FOLDER / "locks" / f"{name}.txt"
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip(f"{uv} is missing; run scripts/install")

    def make(folder: Path) -> None:
        _run([uv, "venv", "--no-config", "--quiet", "--python", sys.executable, folder])
        _run([uv, "pip", "install", "--no-config", "--quiet", "--require-hashes", "--python", folder, "-r", lock])

    key = f"{sys.version_info.major}.{sys.version_info.minor}-{_digest(lock)}"
    return _made(f"{name}-{key}", make) / "bin" / "python"


def javascript() -> Path:
    """Return a folder with AWS's clients for JavaScript and the scripts. Skip the test if it cannot be made."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    package, lock = FOLDER / "javascript" / "package.json", FOLDER / "javascript" / "package-lock.json"

    def make(folder: Path) -> None:
        folder.mkdir()
        for file in (package, lock):
            shutil.copy(file, folder)
        _run([npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder])

    return _made(f"javascript-{_digest(package, lock)}", make)


def _made(name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder of this name; make it if no run has finished it."""
    BUILD.mkdir(parents=True, exist_ok=True)
    folder, finished = BUILD / name, BUILD / f"{name}.finished"
    with (BUILD / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the processes of pytest-xdist, and runs beside this one
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            finished.touch()
    return folder


def _digest(*files: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def _run(command: Sequence[str | Path]) -> None:
    """Run a step of an installation. Skip the test if no registry answers; any other failure fails it."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S)
    if done.returncode == 0:
        return
    words = " ".join(map(str, command[:3]))
    if UNREACHABLE.search(done.stderr):
        pytest.skip(f"no package registry answers ({words}): {done.stderr.strip().splitlines()[-1][:200]}")
    pytest.fail(f"{words} ended with status {done.returncode}:\n{done.stdout}{done.stderr}", pytrace=False)
