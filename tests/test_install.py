"""scripts/install, with a pip that fails."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("status", [0, 1])
def test_the_stamp_is_only_for_what_pip_has_done(tmp_path: Path, status: int) -> None:
    for name in ("pyproject.toml", "constraints.txt", "scripts/install", "scripts/pythons"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    python, stamp = tmp_path / ".venv" / "bin" / "python", tmp_path / ".venv" / ".installed"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\ncase "$*" in *" -e "*) echo "no such version"; exit {status};; esac\n')
    python.chmod(0o755)
    stamp.write_text("of an earlier one")
    command = [tmp_path / "scripts" / "install"]
    environ = {name: value for name, value in os.environ.items() if name not in ("VENV", "FRAMEWORKS")}
    environ |= {"PYTHON": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60)
    assert "no such version" in done.stderr
    assert (done.returncode, stamp.exists()) == (status, status == 0)
