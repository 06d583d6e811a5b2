"""scripts/install, with a uv and a pip that fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(("uv", "pip", "status"), [(0, 1, 0), (1, 0, 0), (1, 1, 1)])
def test_the_stamp_is_only_for_what_is_installed(tmp_path: Path, uv: int, pip: int, status: int) -> None:
    for name in ("pyproject.toml", "constraints.txt", "scripts/install", "scripts/uv-install", "scripts/pythons"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    python, stamp = tmp_path / ".venv" / "bin" / "python", tmp_path / ".venv" / ".installed"
    python.parent.mkdir(parents=True)
    python.write_text(
        f"""#!/bin/sh
case "$*" in
    *scripts/uv-install*" -e "*) echo "uv: no such version"; exit {uv} ;;
    *" -e "*) echo "pip: no such version"; exit {pip} ;;
esac
"""
    )
    python.chmod(0o755)
    stamp.write_text("of an earlier one")
    command = [tmp_path / "scripts" / "install"]
    environ = {name: value for name, value in os.environ.items() if name not in ("VENV", "FRAMEWORKS")}
    environ |= {"PYTHON": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60)
    assert [line for line in done.stderr.splitlines() if "no such" in line] == [
        f"{installer}: no such version" for installer in ("uv", "pip")[: 1 + uv]
    ]
    assert (done.returncode, stamp.exists()) == (status, status == 0)
