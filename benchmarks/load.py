"""Load on one model, made by another process: wrk where the machine has it, else a small generator of our own."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.api import AnswerError, invocations
from benchmarks.models import Copy
from benchmarks.servers import ROOT, Server

_SCRIPT = Path(__file__).parent / "wrk.lua"
WARM_UP_S = 3.0
_GRACE_S = 30.0


@dataclass(frozen=True)
class Load:
    """`clients` connections, each of which asks again as soon as it is answered."""

    server: Server
    copy: Copy
    body_file: Path
    clients: int
    seconds: float

    def start(self) -> subprocess.Popen[bytes]:
        environ = {**os.environ, "BODY_FILE": str(self.body_file), "CONTENT_TYPE": self.copy.kind.content_type}
        return subprocess.Popen(self._command(), env=environ, cwd=ROOT, stdout=subprocess.PIPE)

    def figures(self, process: subprocess.Popen[bytes]) -> "Figures":
        """Waits for the end of the load that `start` began."""
        output, _ = process.communicate(timeout=self.seconds + _GRACE_S)
        figures = json.loads(output.splitlines()[-1])
        if figures["errors"] or not figures["requests"]:
            raise AnswerError(f"{self.copy.name}: of {figures['requests']} requests, {figures['errors']} failed")
        return Figures(figures["requests"] / figures["seconds"], figures["p50_ms"], figures["p99_ms"])

    def run(self) -> "Figures":
        return self.figures(self.start())

    def warm_up(self) -> None:
        """Java compiles what it sees often, and polyhost gives a busy model more workers after a second or two."""
        replace(self, seconds=WARM_UP_S).run()

    def _command(self) -> list[str]:
        seconds, clients = f"{self.seconds:.0f}", str(self.clients)
        wrk = shutil.which("wrk")
        if wrk is None:
            own = [sys.executable, "-m", "benchmarks.generator"]
            return [*own, str(self.server.port), invocations(self.copy), clients, seconds]
        url = f"http://127.0.0.1:{self.server.port}{invocations(self.copy)}"
        return [wrk, "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s", "-s", str(_SCRIPT), url]


@dataclass(frozen=True)
class Figures:
    per_second: float
    p50_ms: float
    p99_ms: float
