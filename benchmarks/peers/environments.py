"""Each peer's own virtual environment, build/peers/NAME, with the versions of requirements/NAME.txt."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import ROOT

REQUIREMENTS = Path(__file__).parent / "requirements"
ENVIRONMENTS = ROOT / "build" / "peers"
_INSTALL_S = 1800
_VERSIONS = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]), sep='\\n')"


class InstallError(Exception):
    """An environment that could not be made; the message says why."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment for what `requirements` lists; without a list, one that others have made."""

    python: Path
    requirements: Path | None

    @classmethod
    def of(cls, name: str) -> "Environment":
        return cls(ENVIRONMENTS / name / "bin" / "python", REQUIREMENTS / f"{name}.txt")

    def install(self) -> None:
        """Make the environment unless it is there. Raise InstallError if pip cannot."""
        if self.requirements is None or self.is_installed():
            return
        self._run([sys.executable, "-m", "venv", "--clear", self._folder])
        pip: list[str | Path] = [self.python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        self._run([*pip, "-r", self.requirements])  # not --no-deps: a PyTorch with CUDA needs more than is listed
        self._stamp.write_text(self._wanted())

    def is_installed(self) -> bool:
        try:
            return self.requirements is None or self._stamp.read_text() == self._wanted()
        except OSError:
            return False

    def versions(self, packages: Sequence[str]) -> dict[str, str]:
        """Return the installed versions. Raise InstallError if one is not there."""
        lines = self._run([self.python, "-c", _VERSIONS, *packages]).splitlines()
        return dict(zip(packages, lines, strict=True))

    @property
    def _folder(self) -> Path:
        return self.python.parent.parent

    @property
    def _stamp(self) -> Path:
        return self._folder / ".installed"

    def _wanted(self) -> str:
        assert self.requirements is not None
        return hashlib.sha256(self.requirements.read_bytes()).hexdigest()

    def _run(self, command: Sequence[str | Path]) -> str:
        environ = {**os.environ, "PYTHONWARNINGS": "ignore"}
        try:
            done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=_INSTALL_S)
        except subprocess.TimeoutExpired:
            raise InstallError(f"{self._folder.name}: no end within {_INSTALL_S} s: {_text(command)}") from None
        except OSError as error:
            raise InstallError(f"{self._folder.name}: {error}") from None
        if done.returncode:
            reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise InstallError(f"{self._folder.name}: {_text(command)} failed: {' '.join(reason)}")
        return done.stdout


def _text(command: Sequence[str | Path]) -> str:
    return " ".join(map(str, command))[:200]
