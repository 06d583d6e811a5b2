"""The examples, run as a reader would run them."""

import io
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from rich.console import Console

from examples.demo import main as demo
from examples.demo.digits import digits, png
from examples.demo.models import MODELS
from examples.demo.trials import Score
from polyhost.client import PolyhostClient
from polyhost.processes import ServerProcess, free_port, running_container
from tests.support.command import POLYHOST, run_polyhost
from tests.support.container import ROOT
from tests.support.readme import store_example

README = ROOT / "README.md"
TRAIN = """
import sys
from pathlib import Path
from examples.demo import train_mxnet
from examples.demo.digits import digits
train_mxnet.train(Path(sys.argv[1]), digits()[0])
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train the demo's MXNet network, in a process that may have MXNet's warnings."""
    folder = tmp_path_factory.mktemp("network")
    subprocess.run([sys.executable, "-c", TRAIN, folder], cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture
def picture(tmp_path: Path) -> tuple[Path, int]:
    """Write a held-out image; return its path and the digit that it shows."""
    _, held_out = digits()
    path = tmp_path / "digit.png"
    path.write_bytes(png(held_out.x[0]))
    return path, int(held_out.y[0])


def test_the_example_handler_and_the_built_in_one_agree(network: Path, picture: tuple[Path, int]) -> None:
    path, digit = picture
    handlers: tuple[list[str], ...] = ([], ["--handler", "examples/model_handler.py:handle"])
    reports = []
    for handler in handlers:
        checked = run_polyhost("check", network, "--body", path, "--repeat", "0", "--json", *handler, cwd=ROOT)
        assert checked.returncode == 0, checked.stderr
        reports.append(json.loads(checked.stdout))
    built_in, own = (report["answer"]["body"] for report in reports)
    assert built_in == own
    assert built_in[0].endswith(f"class=digit {digit}")


def test_the_example_handler_serves_the_archive_in_a_container(
    network: Path, picture: tuple[Path, int], tmp_path: Path
) -> None:
    path, digit = picture
    folder = tmp_path / "models" / "a1b2" / "model"
    folder.parent.mkdir(parents=True)
    network.rename(folder)
    handler = f"{ROOT}/examples/model_handler.py:handle"
    with running_container(tmp_path, "--handler", handler) as container, PolyhostClient(container.url) as client:
        client.load("a1b2", str(folder))
        classes = client.invoke("a1b2", path.read_bytes(), "application/x-image").json()
    assert len(classes) == 5
    assert classes[0].endswith(f"class=digit {digit}")


@pytest.mark.timeout(1200)
def test_the_demo_and_the_commands_of_the_readme(tmp_path: Path, short_dir: Path) -> None:
    command = [sys.executable, "-m", "examples.demo"]
    environ = os.environ | {"TMPDIR": str(short_dir)}
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environ)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    assert [model.name for model in MODELS if f"\n {model.name} " not in ran.stdout] == []
    assert "Nothing is left running." in ran.stdout
    assert [path for path in short_dir.iterdir() if path.name.startswith(("polyhost-", "ph-"))] == []
    _follow_the_readme(tmp_path)
    _serve_the_readmes_store()


def _follow_the_readme(tmp_path: Path) -> None:
    """Run its commands on what the demo has left, in another folder and on another port."""
    commands = re.findall(r"^(polyhost (?:check|models) .*?|mkdir .*?|tar .*?)(?: +#.*)?$", README.read_text(), re.M)
    (tmp_path / "ml").mkdir()
    with running_container(tmp_path / "ml") as container:
        printed = {}
        for command in (command.replace("/tmp/ml", str(tmp_path / "ml")) for command in commands):
            address = ["--url", container.url] if " models " in command else []
            program, *words = [*shlex.split(command), *address]
            executable = POLYHOST if program == "polyhost" else program
            ran = subprocess.run([executable, *words], cwd=ROOT, capture_output=True, text=True)
            assert ran.returncode == 0, (command, ran.stderr)
            printed[" ".join(command.split()[:3])] = ran.stdout
    assert printed["polyhost models invoke"] == "[5]"
    assert printed["polyhost check build/demo/digits-forest.tar.gz"].endswith("[5]\n")
    assert printed["polyhost models unload"] == "Unloaded digits.\n"


def _serve_the_readmes_store() -> None:
    """Run README's `polyhost serve --store` and its `curl`, on another port."""
    example, port = store_example(), free_port()
    url = f"http://127.0.0.1:{port}"
    command: list[str | Path] = [POLYHOST, *example.serve[1:], "--port", str(port)]
    with tempfile.TemporaryDirectory() as folder:
        environ = os.environ | {"POLYHOST_STATE_DIR": folder}
        server = ServerProcess(command, Path(folder) / "container.log", environ=environ, cwd=ROOT)
        try:
            with PolyhostClient(url) as client:
                server.wait_until(client.ping)
            curl = ["curl", "--silent", "--show-error", "--noproxy", "*", *example.request(url)[1:]]
            ran = subprocess.run(curl, cwd=ROOT, capture_output=True, text=True)
            assert (ran.stdout, ran.returncode) == ("[5]", 0), ran.stderr
        finally:
            server.stop()
        assert server.processes() == []


@pytest.mark.parametrize(("accuracy", "status"), [(0.95, 0), (0.94, 1)])
def test_the_demo_fails_if_a_model_is_wrong_too_often(accuracy: float, status: int) -> None:
    model = MODELS[0]
    score = Score(accuracy, samples=100, first_ms=1.0, warm_ms=1.0)
    printed = io.StringIO()
    result = demo.Result(model, model.trials[0], score, archive_bytes=1, is_first=True)
    assert demo.verdict([result], Console(file=printed)) == status
    assert ("digits-mxnet was right in 94.0%" in printed.getvalue()) == bool(status)
