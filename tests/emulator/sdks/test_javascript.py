"""AWS's clients for JavaScript, with their own waiters and streams."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.emulator.archives import archive
from tests.emulator.sdks.environments import FOLDER

MODELS: dict[str, dict[str, dict[str, Any]]] = {
    "real_time": {"one": {}, "stream": {"chunks": ["a ", "stream"]}, "broken": {"status": 500}},
    "multi_model": {"one": {}, "two": {}},
    "asynchronous": {"one": {"quotes": True}},
    "batch": {"one": {"quotes": True}},
    "serverless": {"one": {}},
    "pipeline": {"one": {"quotes": True}, "two": {"quotes": True}},
    "direct": {"one": {}, "two": {}},
    "shadow": {"one": {}, "two": {}},
}


@pytest.mark.timeout(1200)  # one of them makes the environment
@pytest.mark.parametrize("pattern", MODELS)
def test_clients(
    pattern: str, environ: dict[str, str], unused: Callable[[str], None], node_folder: Path, tmp_path: Path
) -> None:
    archives = []
    for model, settings in MODELS[pattern].items():
        archives.append(tmp_path / f"{model}.tar.gz")
        archives[-1].write_bytes(archive(model, **settings))
    # A script finds packages in the folders above it.
    (tmp_path / "node_modules").symlink_to(node_folder / "node_modules")
    for script in (FOLDER / "javascript").glob("*.mjs"):
        shutil.copy(script, tmp_path)
    name = f"js-{pattern}".replace("_", "-")
    command: list[str | Path] = ["node", tmp_path / f"{pattern}.mjs", name, *archives]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    unused(name)
