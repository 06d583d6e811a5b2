"""SageMaker's Python SDK, versions 2 and 3: a script for each way to host a model."""

import io
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import pytest

from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.server import Emulator
from tests.emulator.archives import packed
from tests.emulator.sdks.conftest import environ_of
from tests.support.container import ROOT

PATTERNS = ("real_time", "multi_model", "pipeline", "direct", "shadow", "asynchronous", "serverless", "batch")
SCRIPT_S = 300.0
INFERENCE = """
import joblib

def model_fn(model_dir):
    return joblib.load(f"{model_dir}/model.joblib")

def predict_fn(rows, model):
    return model.predict(rows)
"""

pytestmark = pytest.mark.timeout(1200)  # one of the tests makes the environment


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("version", ["v2", "v3"])
def test_sdk(
    version: str,
    pattern: str,
    environ: dict[str, str],
    unused: Callable[[str], None],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    name = f"{version}-{pattern}".replace("_", "-")
    log = _run(request.getfixturevalue(f"sdk_{version}"), f"{version}.{pattern}", environ, tmp_path, name)
    assert "Traceback" not in log  # of what the SDK does beside its work
    unused(name)


def test_sdk_packs_a_script_that_polyhost_serves(sdk_v2: Path, tmp_path: Path) -> None:
    linear_model: Any = pytest.importorskip("sklearn.linear_model")
    model = io.BytesIO()
    joblib.dump(linear_model.LinearRegression().fit([[1, 0], [0, 1], [1, 1]], [1, 1, 2]), model)
    (tmp_path / "model.tar.gz").write_bytes(packed({"model.joblib": model.getvalue()}))
    (tmp_path / "inference.py").write_text(INFERENCE)
    with Emulator(EmulatorConfig(port=0)) as emulator:
        environ = environ_of(emulator.url)
        _run(sdk_v2, "v2.script_mode", environ, tmp_path, "script-mode", "model.tar.gz", "inference.py")


def _run(python: Path, script: str, environ: dict[str, str], folder: Path, *arguments: str) -> str:
    """Run a script in a folder, and return its log. The SDK looks for its user's defaults in the home folder."""
    done = subprocess.run(
        [python, "-m", f"tests.emulator.sdks.{script}", *arguments],
        cwd=folder,
        env=environ | {"HOME": str(folder), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SCRIPT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr
