"""The installed command `polyhost`, run as a user runs it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

POLYHOST = Path(sys.executable).with_name("polyhost")
# Wide enough that rich, which draws the usage errors, wraps no path.
_WIDE = {"COLUMNS": "1000"}


def run_polyhost(
    *arguments: str | Path,
    stdin: str = "",
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    timeout_s: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run it to its end. `environ` is added to this process's environment."""
    return subprocess.run(
        [POLYHOST, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **_WIDE, **(environ or {})},
        timeout=timeout_s,
    )
