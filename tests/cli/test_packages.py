"""`polyhost pack --with-wheels` and `polyhost check` of folders that ask for packages: the real uv and pip."""

import hashlib
import importlib.metadata
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import run_polyhost
from tests.support.packages import Index, make_wheel, serving

SCRIPT = """
import greeting
def model_fn(model_dir):
    return greeting.VERSION
def transform_fn(model, body, content_type, accept):
    return model, "text/plain"
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    with serving(tmp_path_factory.mktemp("index")) as index:
        make_wheel(index.folder, "greeting", "1.0")
        make_wheel(index.folder, "greeting", "2.0", requires=["words"])
        make_wheel(index.folder, "words", "1.0")
        make_wheel(index.folder, "networkx", "99.0")
        yield index


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    code = tmp_path / "model" / "code"
    code.mkdir(parents=True)
    (code / "inference.py").write_text(SCRIPT)
    (code / "requirements.txt").write_text("greeting\nnumpy\n")
    return tmp_path / "model"


def run(index: Index, *arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    # pip's own settings of this machine have no part in it.
    settings = {"UV_DEFAULT_INDEX": index.url, "PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": "", **environ}
    return run_polyhost(*arguments, environ=settings, stdin="{}", timeout_s=300)


def test_packed_wheels_need_no_index(index: Index, folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "model.tar.gz"

    packed = run(index, "pack", folder, "--with-wheels", "-o", archive)

    assert packed.returncode == 0, packed.stderr
    names = ["greeting-2.0-py3-none-any.whl", "words-1.0-py3-none-any.whl"]
    assert f"wheels: {', '.join(names)}; serve it with POLYHOST_REQUIREMENTS=wheels" in packed.stdout
    with tarfile.open(archive) as tar:
        sums = tar.extractfile("./code/wheels/SHA256SUMS")
        assert sums is not None
        digests = [hashlib.sha256((index.folder / name).read_bytes()).hexdigest() for name in names]
        assert sums.read().decode().split() == [digests[0], names[0], digests[1], names[1]]
        assert tar.getnames()[1:] == [
            *("./code/inference.py", "./code/requirements.txt", "./code/wheels"),
            *(f"./code/wheels/{name}" for name in ("SHA256SUMS", *names)),
        ]  # fmt: skip
    assert not (folder / "code" / "wheels").exists(), "the folder is as it was"
    asked = len(index.requests)

    checked = run(index, "check", archive, "--body", "-", "--content-type", "text/plain")

    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.startswith("packages     greeting==2.0, words==1.0 (")
    assert "; the container does so with POLYHOST_REQUIREMENTS=wheels\n" in checked.stdout
    assert checked.stdout.endswith("\n2.0\n")
    assert "installing the packages of code/requirements.txt: greeting, numpy" in checked.stderr
    assert len(index.requests) == asked


def test_own_wheels_come_first(index: Index, folder: Path, tmp_path: Path) -> None:
    make_wheel(folder / "code" / "wheels", "private", "1.0", requires=["greeting<2"])
    (folder / "code" / "requirements.txt").write_text("private\n")

    packed = run(index, "pack", folder, "--with-wheels", "-o", tmp_path / "model.tar.gz")

    assert packed.returncode == 0, packed.stderr
    assert "wheels: greeting-1.0-py3-none-any.whl, private-1.0-py3-none-any.whl;" in packed.stdout


def test_another_images_packages(index: Index, folder: Path, tmp_path: Path) -> None:
    freeze = tmp_path / "image.txt"
    freeze.write_text("numpy==1.26.4\nGreeting==1.0\nother @ file:///somewhere\n")

    packed = run(index, "pack", folder, "--with-wheels", "--image-packages", freeze, "-o", tmp_path / "model.tar.gz")

    assert packed.returncode == 0, packed.stderr
    assert "no wheels: the image has all that requirements.txt asks for" in packed.stdout


@pytest.mark.parametrize(
    ("requirements", "arguments", "words"),
    [
        ("numpy>=9", ["--with-wheels"], f"the image has numpy=={importlib.metadata.version('numpy')}"),
        ("-r other.txt", ["--with-wheels"], "-r is not allowed in an archive"),
        ("no-such-thing", ["--with-wheels"], "no-such-thing was not found"),
        ("greeting", ["--image-packages", "/etc/hostname"], "give both"),
        (None, ["--with-wheels"], "has no requirements.txt"),
    ],
)
def test_what_cannot_be_packed(
    index: Index, folder: Path, tmp_path: Path, requirements: str | None, arguments: list[str], words: str
) -> None:
    (folder / "code" / "requirements.txt").unlink()
    if requirements is not None:
        (folder / "code" / "requirements.txt").write_text(requirements)
    archive = tmp_path / "model.tar.gz"

    packed = run(index, "pack", folder, *arguments, "-o", archive)

    assert packed.returncode == 1
    assert words in packed.stderr
    assert not archive.exists()


def test_check_installs_from_the_index(index: Index, folder: Path) -> None:
    checked = run(index, "check", folder, "--json")

    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["packages"] == ["greeting==2.0", "words==1.0"]


def test_check_without_installing(index: Index, folder: Path) -> None:
    checked = run(index, "check", folder, POLYHOST_REQUIREMENTS="off")

    assert checked.returncode == 1
    assert "which is not installed: POLYHOST_REQUIREMENTS is off" in checked.stderr


def test_check_of_a_conflict(index: Index, folder: Path) -> None:
    (folder / "code" / "requirements.txt").write_text("networkx>=99\ngreeting\n")
    (folder / "code" / "inference.py").write_text(SCRIPT.replace("greeting.VERSION", "__import__('networkx').VERSION"))

    refused = run(index, "check", folder)
    checked = run(
        index, "check", folder, "--body", "-", "--content-type", "text/plain", POLYHOST_REQUIREMENTS="isolated"
    )

    assert refused.returncode == 1
    assert "which cannot change" in refused.stderr
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.endswith("\n99.0\n")
    assert "in a Python of its own" in checked.stderr


def test_a_wrong_setting(index: Index, folder: Path) -> None:
    checked = run(index, "check", folder, POLYHOST_REQUIREMENTS="always")
    assert checked.returncode == 1
    assert "POLYHOST_REQUIREMENTS='always': must be one of off, wheels, install, isolated" in checked.stderr
