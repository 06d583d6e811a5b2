"""SageMaker's Python SDK, versions 2 and 3: a script for each way to host a model."""

import io
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import joblib
import pytest

from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.server import Emulator
from tests.emulator.archives import packed
from tests.emulator.sdks.conftest import environ_of
from tests.emulator.sdks.environments import python_with
from tests.emulator.sdks.fork_scripts import Script
from tests.support.container import ROOT

PATTERNS = ("real_time", "multi_model", "pipeline", "direct", "shadow", "asynchronous", "serverless", "batch")
SCRIPT_S = 300
INFERENCE = """
import joblib

def model_fn(model_dir):
    return joblib.load(f"{model_dir}/model.joblib")

def predict_fn(rows, model):
    return model.predict(rows)
"""

pytestmark = pytest.mark.timeout(1200)  # one of the tests makes the environment


class SdkScripts:
    """Runs scripts of one SDK: a process that has imported it forks for each."""

    def __init__(self, version: str, home: Path) -> None:
        """Start the process. The SDK looks for its user's defaults in `home`, which is empty."""
        self._home = home
        self._process = subprocess.Popen(
            [python_with(version), "-m", "tests.emulator.sdks.fork_scripts", version],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=home,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT)},
            text=True,
        )

    def run(self, name: str, environ: dict[str, str], folder: Path, *arguments: str) -> str:
        """Run a script in a folder, and return what it prints."""
        log = folder / f"{name}.log"
        environ = environ | {"HOME": str(self._home), "PYTHONPATH": str(ROOT)}
        script = Script(name, list(arguments), str(folder), environ, str(log), SCRIPT_S)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(script)) + "\n")
        self._process.stdin.flush()
        status = self._process.stdout.readline().strip()
        printed = log.read_text() if log.exists() else ""
        assert status == "0", f"{name} ended with status {status or 'none: see the error above'}\n{printed}"
        return printed

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], SdkScripts]]:
    """Return a function for the scripts of one version, whose process starts when it is first asked for."""
    started: dict[str, SdkScripts] = {}

    def of_version(version: str) -> SdkScripts:
        if version not in started:
            started[version] = SdkScripts(version, tmp_path_factory.mktemp(version))
        return started[version]

    yield of_version
    for each in started.values():
        each.close()


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("version", ["v2", "v3"])
def test_sdk(
    version: str,
    pattern: str,
    environ: dict[str, str],
    unused: Callable[[str], None],
    scripts: Callable[[str], SdkScripts],
    tmp_path: Path,
) -> None:
    name = f"{version}-{pattern}".replace("_", "-")
    log = scripts(version).run(pattern, environ, tmp_path, name)
    assert "Traceback" not in log  # of what the SDK does beside its work
    unused(name)


def test_sdk_packs_a_script_that_polyhost_serves(scripts: Callable[[str], SdkScripts], tmp_path: Path) -> None:
    linear_model: Any = pytest.importorskip("sklearn.linear_model")
    model = io.BytesIO()
    joblib.dump(linear_model.LinearRegression().fit([[1, 0], [0, 1], [1, 1]], [1, 1, 2]), model)
    (tmp_path / "model.tar.gz").write_bytes(packed({"model.joblib": model.getvalue()}))
    (tmp_path / "inference.py").write_text(INFERENCE)
    with Emulator(EmulatorConfig(port=0)) as emulator:
        arguments = ("script-mode", "model.tar.gz", "inference.py")
        scripts("v2").run("script_mode", environ_of(emulator.url), tmp_path, *arguments)
