"""`polyhost pack`."""

import json
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from polyhost.cli.main import app


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "churn"
    folder.mkdir()
    (folder / "model.joblib").write_bytes(b"weights")
    return folder


def pack(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["pack", *map(str, arguments)])


def test_prints_archive_and_handler(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "model.tar.gz"
    result = pack(folder, "-o", target)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{target}: ")
    assert result.stdout.endswith(" bytes, 1 member, served by the sklearn handler\n")
    with tarfile.open(target) as tar:
        assert tar.getnames() == ["./model.joblib"]


def test_prints_json_for_scripts(folder: Path, tmp_path: Path) -> None:
    (folder / "inference.py").write_text("def model_fn(model_dir): ...\n")
    target = tmp_path / "model.tar.gz"
    report = json.loads(pack(folder, "-o", target, "--json").stdout)
    assert report == {
        "archive": str(target),
        "bytes": target.stat().st_size,
        "handler": "script",
        "members": ["inference.py", "model.joblib"],
    }


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["readme.md"], "nothing here can be served; found at the archive's root: readme.md"),
        (["readme.txt"], "nothing here can be served; no model of a framework here begins as readme.txt"),
        ([], "found at the archive's root: nothing"),
        (["a.joblib", "b.pt"], "files of 2 frameworks fit (torch, sklearn)"),
    ],
)
def test_a_folder_that_no_handler_can_serve_is_rejected(tmp_path: Path, files: list[str], message: str) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    for name in files:
        (folder / name).touch()
    result = pack(folder, "-o", tmp_path / "model.tar.gz")
    assert result.exit_code == 1
    assert f"polyhost: {folder}: " in result.stderr
    assert message in result.stderr
    assert not (tmp_path / "model.tar.gz").exists()


def test_handler_option_accepts_any_files(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "weights.bin").touch()
    target = tmp_path / "model.tar.gz"
    assert "served by the mine.py:handle handler" in pack(folder, "-o", target, "--handler", "mine.py:handle").stdout


def test_handler_of_the_manifest_is_used(folder: Path, tmp_path: Path) -> None:
    (folder / "MAR-INF").mkdir()
    (folder / "MAR-INF" / "MANIFEST.json").write_text('{"model": {"handler": "service.py:handle"}}')
    assert "served by the service.py:handle handler" in pack(folder, "-o", tmp_path / "model.tar.gz").stdout


@pytest.mark.parametrize("manifest", ["{}", '{"model": {}}', '{"model": []}'])
def test_a_manifest_without_a_handler_is_rejected(folder: Path, tmp_path: Path, manifest: str) -> None:
    (folder / "MAR-INF").mkdir()
    (folder / "MAR-INF" / "MANIFEST.json").write_text(manifest)
    result = pack(folder, "-o", tmp_path / "model.tar.gz")
    assert result.exit_code == 1
    assert "MANIFEST.json names no handler" in result.stderr


def test_existing_archive_is_replaced_only_with_force(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "model.tar.gz"
    target.write_text("precious")
    result = pack(folder, "-o", target)
    assert (result.exit_code, target.read_text()) == (1, "precious")
    assert f"polyhost: {target} exists; replace it with --force" in result.stderr
    assert pack(folder, "-o", target, "--force").exit_code == 0
    assert tarfile.is_tarfile(target)


def test_a_symbolic_link_is_rejected_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    (folder / "latest").symlink_to("model.joblib")
    result = pack(folder, "-o", tmp_path / "model.tar.gz")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "latest is a symbolic link" in result.stderr
