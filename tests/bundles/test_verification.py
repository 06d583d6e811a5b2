"""A bundle that is not as it was made is served neither by the command nor by its script."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command import run_polyhost


def append(folder: Path, name: str) -> None:
    with (folder / name).open("a") as file:
        file.write("#")


def add_link(folder: Path) -> None:
    (folder / "models" / "link").symlink_to("/etc")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed": (lambda folder: append(folder, "models/two/model/inference.py"), "models/two/model/inference.py"),
    "settings": (lambda folder: append(folder, "settings.env"), "settings.env"),
    "removed": (lambda folder: (folder / "models" / "team" / "one.tar.gz").unlink(), "models/team/one.tar.gz"),
    "added": (lambda folder: (folder / "models" / "three.tar.gz").write_bytes(b""), "models/three.tar.gz"),
    "hidden": (lambda folder: (folder / "models" / ".x").write_bytes(b""), "models/.x"),
    "a link": (add_link, "models/link"),
    "sums": (lambda folder: append(folder, "SHA256SUMS"), "SHA256SUMS"),
    "no sums": (lambda folder: (folder / "SHA256SUMS").unlink(), "SHA256SUMS"),
}


def run_script(bundle: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [str(bundle / "run"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environ}, cwd="/", timeout=300)


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_command_names_what_is_wrong(bundle: Path, damage: str) -> None:
    do, name = DAMAGES[damage]
    do(bundle)
    done = run_polyhost("serve", "--bundle", bundle)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("polyhost: ") and done.stderr.count("\n") == 1 and name in done.stderr


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_script_names_what_is_wrong(bundle: Path, damage: str) -> None:
    do, name = DAMAGES[damage]
    do(bundle)
    done = run_script(bundle, ENGINE="no-such-engine")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("run: ") and name in done.stderr and "no-such-engine" not in done.stderr


def test_the_script_says_that_the_engine_is_missing(bundle: Path) -> None:
    done = run_script(bundle, ENGINE="no-such-engine")
    assert done.returncode == 1
    assert done.stderr == (
        f"run: no-such-engine is not on PATH; install one, or use: polyhost serve --bundle {bundle}\n"
    )


def test_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    assert "is no bundle" in run_polyhost("serve", "--bundle", tmp_path).stderr
    assert "is no folder" in run_polyhost("serve", "--bundle", tmp_path / "none").stderr


def test_a_manifest_of_another_format(bundle: Path) -> None:
    manifest = bundle / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 2'))
    sums = subprocess.run("sha256sum $(cut -c 67- SHA256SUMS)", shell=True, cwd=bundle, capture_output=True, check=True)
    (bundle / "SHA256SUMS").write_bytes(sums.stdout)
    assert "manifest.json has another format than 1" in run_polyhost("serve", "--bundle", bundle).stderr


def test_one_kind_of_models_at_a_time(bundle: Path) -> None:
    done = run_polyhost("serve", "--bundle", bundle, "--store", bundle)
    assert done.returncode == 2 and "leave out --store" in done.stderr
