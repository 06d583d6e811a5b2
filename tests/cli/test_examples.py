"""The examples, run as a reader would run them."""

import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from examples import demo
from examples.digits import digits, png
from examples.server import POLYHOST, serving
from examples.trials import Score
from polyhost.client import PolyhostClient

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
TRAIN = """
from pathlib import Path
from examples import train_mxnet
from examples.digits import digits
train_mxnet.train(Path({folder!r}), digits()[0])
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Symbol, parameters, shapes and class names at the root, trained in a process that may have MXNet's warnings."""
    folder = tmp_path_factory.mktemp("network")
    subprocess.run([sys.executable, "-c", TRAIN.format(folder=str(folder))], cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture
def picture(tmp_path: Path) -> tuple[Path, int]:
    """A held-out image, and the digit that it shows."""
    _, held_out = digits()
    path = tmp_path / "digit.png"
    path.write_bytes(png(held_out.x[0]))
    return path, int(held_out.y[0])


def test_the_handler_of_ones_own_and_ours_agree(network: Path, picture: tuple[Path, int]) -> None:
    path, digit = picture
    handlers: tuple[list[str], ...] = ([], ["--handler", "examples/model_handler.py:handle"])
    command: list[str | Path] = [POLYHOST, "check", network, "--body", path, "--repeat", "0", "--json"]
    told = [
        json.loads(subprocess.run([*command, *handler], cwd=ROOT, check=True, capture_output=True).stdout)
        for handler in handlers
    ]
    ours, own = (answer["answer"]["body"] for answer in told)
    assert ours == own
    assert ours[0].endswith(f"class=digit {digit}")


def test_a_handler_in_the_container_serves_the_same_archive(
    network: Path, picture: tuple[Path, int], tmp_path: Path
) -> None:
    path, digit = picture
    folder = tmp_path / "models" / "a1b2" / "model"
    folder.parent.mkdir(parents=True)
    network.rename(folder)
    handler = f"{ROOT}/examples/model_handler.py:handle"
    with serving(tmp_path, "--handler", handler) as server, PolyhostClient(server.url) as container:
        container.load("a1b2", str(folder))
        answer = container.invoke("a1b2", path.read_bytes(), "application/x-image").json()
    assert len(answer) == 5
    assert answer[0].endswith(f"class=digit {digit}")


@pytest.mark.timeout(400)
def test_the_demo(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.demo"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert [model.name for model in demo.MODELS if f"\n {model.name} " not in ran.stdout] == []
    assert "Nothing is left running." in ran.stdout
    assert list(tmp_path.glob("polyhost-*")) == []
    _follow_the_readme(tmp_path)


def _follow_the_readme(tmp_path: Path) -> None:
    """Its commands with what the demo left, but for the folder and the port."""
    commands = re.findall(r"^(polyhost (?:check|models) .*?|mkdir .*?|tar .*?)(?: +#.*)?$", README.read_text(), re.M)
    (tmp_path / "ml").mkdir()
    with serving(tmp_path / "ml") as server:
        said = {}
        for command in (command.replace("/tmp/ml", str(tmp_path / "ml")) for command in commands):
            on_server = ["--url", server.url] if " models " in command else []
            program, *words = [*shlex.split(command), *on_server]
            executable = POLYHOST if program == "polyhost" else program
            ran = subprocess.run([executable, *words], cwd=ROOT, capture_output=True, text=True)
            assert ran.returncode == 0, (command, ran.stderr)
            said[" ".join(command.split()[:3])] = ran.stdout
    assert said["polyhost models invoke"] == "[5]"
    assert said["polyhost check build/demo/digits-forest.tar.gz"].endswith("[5]\n")
    assert said["polyhost models unload"] == "Unloaded digits.\n"


@pytest.mark.parametrize(("accuracy", "status"), [(0.95, 0), (0.94, 1)])
def test_the_demo_fails_where_a_model_is_wrong_too_often(accuracy: float, status: int) -> None:
    model = demo.MODELS[0]
    score = Score(accuracy, samples=100, first_ms=1.0, warm_ms=1.0)
    said = io.StringIO()
    result = demo.Result(model, model.trials[0], score, archive_bytes=1, loads=True)
    assert demo.verdict([result], Console(file=said)) == status
    assert ("digits-mxnet was right in 94.0%" in said.getvalue()) == bool(status)
