"""uv, which resolves and installs: a process with a deadline, little output, and an environment of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from polyhost.container.layers.errors import BadRequirementsError, InstallationError
from polyhost.container.layers.store import size_of

EXTRA = "pip install 'polyhost[requirements]'"
_POLL_S = 0.05
_MEASURE_S = 0.5
_REPORT_S = 5.0
_OVERHEAD = 3  # while uv works there are the wheels, uv's cache, and the layer
_MAX_OUTPUT = 1 << 16  # bytes of uv's output that are read
_MAX_REASON = 3_000  # characters
_HTTP_TIMEOUT_S, _HTTP_RETRIES = "15", "2"  # uv's 30 s and 3 retries would outlast the deadline
_NO_SOLUTION = "No solution found"
_PASSWORD = re.compile(r"(://)[^/@\s]*@")
_NOISE = re.compile(r"(Using |Resolved |Prepared |Audited |warning: |Downloading |Downloaded ).*")


class ConflictError(BadRequirementsError):
    """The resolver has found that no set of packages fits."""


@dataclass
class InstallProgress:
    """Watches an installation: within its time and its room, or it is killed."""

    deadline: float  # by the monotonic clock
    limit: int  # bytes that the layer may take on the disk
    report: Callable[[str], None]
    began: float = field(default_factory=time.monotonic)

    def left_s(self) -> float:
        """Return the seconds that are left."""
        return self.deadline - time.monotonic()

    def elapsed_s(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self.began


class Uv:
    """Runs uv in a workplace, which is its home and holds all that it writes."""

    def __init__(
        self,
        workplace: Path,
        variables: Mapping[str, str],
        progress: InstallProgress,
        confine: Callable[[], None] | None = None,
    ) -> None:
        """`variables`: where packages come from; `confine`: called in uv's process before uv."""
        self._workplace = workplace
        self._progress = progress
        self._confine = confine
        self._environ = {
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "UV_HTTP_TIMEOUT": _HTTP_TIMEOUT_S,
            "UV_HTTP_RETRIES": _HTTP_RETRIES,
            **variables,
            "HOME": str(workplace),
            "TMPDIR": str(workplace / "tmp"),
            "UV_CACHE_DIR": str(workplace / "cache"),
        }

    def install(self, target: Path, arguments: Sequence[str]) -> None:
        """Install into the folder, for this Python. Raises ConflictError, BadRequirementsError, InstallationError.

        Only from wheels: building a source distribution would run its code here.
        """
        (self._workplace / "tmp").mkdir(exist_ok=True)
        command = [_program(), "pip", "install", "--no-build", "--compile-bytecode", "--link-mode", "hardlink"]
        command += ["--no-config", "--no-progress", "--color", "never", "--no-python-downloads"]
        output = self._workplace / "output"
        with output.open("xb") as file:
            status = self._run(
                [*command, "--python", sys.executable, "--target", str(target), *arguments], file.fileno()
            )
        with output.open("rb") as file:
            text = file.read(_MAX_OUTPUT).decode(errors="replace")
        output.unlink()
        if status != 0:
            raise self._error(status, text)

    def _run(self, command: Sequence[str], output: int) -> int:
        try:
            process = subprocess.Popen(
                command,
                env=self._environ,
                cwd=self._workplace,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=self._confine,  # this process has one thread
                process_group=0,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise InstallationError(f"uv cannot be started: {error}") from error
        try:
            return self._wait(process)
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)  # what it has started
            except ProcessLookupError:
                pass
            process.wait()

    def _wait(self, process: "subprocess.Popen[bytes]") -> int:
        progress = self._progress
        measured = reported = time.monotonic()
        size = 0
        while (status := process.poll()) is None:
            now = time.monotonic()
            if now >= progress.deadline:
                raise InstallationError(
                    f"the packages were not installed within {progress.elapsed_s():.0f} s "
                    f"(POLYHOST_REQUIREMENTS_SECONDS), {_mb(size)} so far"
                )
            if now - measured >= _MEASURE_S:
                measured, size = now, size_of(self._workplace)
                if size > _OVERHEAD * progress.limit:
                    raise too_large(progress.limit)
            if now - reported >= _REPORT_S:
                reported = now
                progress.report(f"installing packages: {progress.elapsed_s():.0f} s, {_mb(size)} so far")
            time.sleep(_POLL_S)
        return status

    def _error(self, status: int, text: str) -> Exception:
        text = _PASSWORD.sub(r"\1", text).replace(str(self._workplace / "wheels"), "code/wheels")
        lines = [line.strip() for line in text.splitlines() if line.strip() and not _NOISE.match(line)]
        reason = " ".join(lines).removeprefix("error: ").replace(" cause: ", ": ")
        reason = reason.replace(str(self._workplace), "")
        if len(reason) > _MAX_REASON:
            reason = f"{reason[:_MAX_REASON]}..."
        if status < 0:
            return InstallationError(f"uv died of signal {-status}; {reason}".removesuffix("; "))
        if _NO_SOLUTION in text:
            return ConflictError(reason)
        if status == 1:  # the input is at fault, not uv: a wrong hash, a file that is not a wheel
            return BadRequirementsError(reason)
        return InstallationError(reason or f"uv ended with status {status}")


def too_large(limit: int) -> BadRequirementsError:
    """Return the error for packages that take more room than all layers may."""
    return BadRequirementsError(f"the packages take more than {_mb(limit)}, which is all that layers may take "
                                "(POLYHOST_LAYERS_MB)")  # fmt: skip


def _program() -> str:
    try:
        from uv import find_uv_bin

        return find_uv_bin()
    except (ImportError, FileNotFoundError):
        raise InstallationError(
            f"uv is not installed beside polyhost, which packages are installed with: {EXTRA}"
        ) from None


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size >= 10_000_000 else f"{size / 1e6:.1f} MB"
