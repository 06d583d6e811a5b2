"""Kills in the middle of saves, of both files that outlive a process: emulator's resources, container's estimates."""

import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

from polyhost.container.memory.state_file import StateFile
from polyhost.emulator.api.control_plane.store import ResourceKind, ResourceStore
from polyhost.emulator.errors import StartError
from tests.fuzz.runner import Case, FindingError


class StateSubject:
    """Each case goes on with the files that the last one has left."""

    name = "state"
    check_every = 10
    shrinks = False

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._folder = Path(tempfile.mkdtemp(prefix="fuzz-state-"))

    def close(self) -> None:
        shutil.rmtree(self._folder)

    def new_case(self, chance: Random) -> Case:
        return Case(f"{chance.choice(('emulator', 'memory'))} {chance.uniform(0, 0.05):.6f}".encode())

    def attempt(self, case: Case) -> None:
        kind, seconds = case.data.decode().split()
        saved = self._write_and_kill(kind, float(seconds))
        found = self._read(kind)
        self.counts[f"kills of {kind}"] += 1
        self.counts["acknowledged saves"] += saved
        if found not in (saved, saved + 1):  # it may have been killed between the save and the word of it
            raise FindingError(f"{kind}: {saved} saves were acknowledged, {found} entries are there")
        if found > 2000:
            shutil.rmtree(self._folder)
            self._folder.mkdir()

    def _write_and_kill(self, kind: str, seconds: float) -> int:
        """Return how many entries the file has according to the last acknowledgement."""
        command = [sys.executable, "-m", "tests.fuzz.state_writer", str(self._folder), kind]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            try:
                first = writer.stdout.readline()
                time.sleep(seconds)
            finally:
                writer.kill()
            numbers = (first + writer.stdout.read()).split(b"\n")[:-1]  # the last line may be cut
        if not numbers:
            raise FindingError(f"{kind}: the writer has ended at its start with {writer.returncode}")
        return int(numbers[-1]) + 1

    def _read(self, kind: str) -> int:
        try:
            if kind == "memory":
                return len(StateFile(self._folder / "estimates.json", int).read())
            return len(ResourceStore(self._folder).of_kind(ResourceKind.MODEL))
        except StartError as error:
            raise FindingError(f"the state cannot be read: {error}") from error

    def check(self) -> None:
        """Temporary files of killed writers may stay, but whole files only are read."""
        self.counts["files left by kills"] = sum(1 for _ in self._folder.iterdir()) - 2

    def finish(self) -> None: ...
