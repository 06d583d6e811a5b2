"""docs/tutorial.md, followed step by step."""

import os
import re
import subprocess
import sys
from pathlib import Path

from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.server import Emulator

TEXT = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
BIN = Path(sys.executable).parent


def run(folder: Path, *command: str | Path, **environ: str) -> str:
    variables = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **environ}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_tutorial_works_as_written(tmp_path: Path) -> None:
    for source in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        (tmp_path / source.splitlines()[0].removeprefix("# ")).write_text(source)
    (commands,) = (block for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) if "polyhost pack" in block)

    run(tmp_path, sys.executable, "train.py")
    printed = run(tmp_path, "sh", "-ec", commands)
    assert printed.rstrip().endswith("[0]")

    with Emulator(EmulatorConfig(port=0)) as emulator:
        credentials = {"AWS_ACCESS_KEY_ID": "tutorial", "AWS_SECRET_ACCESS_KEY": "tutorial"}
        where = {"AWS_ENDPOINT_URL": emulator.url, "AWS_DEFAULT_REGION": "us-east-1"}
        assert run(tmp_path, sys.executable, "endpoint.py", **credentials, **where).startswith("wine: [0]\ndigits: ")
