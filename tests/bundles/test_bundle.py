"""What is in a bundle, and what cannot be made into one."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.command import run_polyhost
from tests.support.model_store import archive_of, put, says


def refused(folder: Path, *arguments: str | Path) -> str:
    """Return the error of a command, which leaves nothing behind."""
    before = sorted(folder.iterdir())
    done = run_polyhost("bundle", *arguments)
    assert done.returncode == 1, done.stdout
    assert done.stdout == "" and done.stderr.startswith("polyhost: ") and done.stderr.count("\n") == 1
    assert sorted(folder.iterdir()) == before
    return done.stderr


def test_models_settings_checksums_and_a_manifest(bundle: Path, model_folder: Path) -> None:
    names = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    models = {"models/team/one.tar.gz", "models/two/model/inference.py"}
    assert names == {*models, "manifest.json", "settings.env", "image.txt", "run", "SHA256SUMS"}
    for name in models:
        assert (bundle / name).read_bytes() == (model_folder / name.removeprefix("models/")).read_bytes()
    assert (bundle / "settings.env").read_text() == "POLYHOST_ZYGOTES=bare\nPOLYHOST_LOAD_AT_START=*\n"
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert [model["name"] for model in manifest["models"]] == ["team/one.tar.gz", "two"]
    assert (manifest["format"], manifest["image"], manifest["image_saved"]) == (1, "polyhost-none:1", False)
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=bundle, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.count(": OK") == len(names) - 1
    assert bundle.stat().st_mode & 0o777 == 0o755


def test_the_same_models_give_the_same_bundle(bundle: Path, model_folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    settings = ("--set", "POLYHOST_ZYGOTES=bare", "--set", "POLYHOST_LOAD_AT_START=*")
    done = run_polyhost("bundle", again, "--store", model_folder, *settings, "--image", "polyhost-none:1", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bundle"] == str(again)
    assert (again / "SHA256SUMS").read_bytes() == (bundle / "SHA256SUMS").read_bytes()


def test_models_by_name_and_pattern(model_folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "some"
    done = run_polyhost("bundle", target, "--store", model_folder, "--model", "team/*", "--model", "team/one.tar.gz")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{target}: 1 model, ") and f"polyhost serve --bundle {target}" in done.stdout
    assert not (target / "models" / "two").exists() and not (target / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "none.tar.gz"), "model 'none.tar.gz' is not in "),
        (("--model", "none*"), "has no model 'none*'"),
        (("--model", "../store/one.tar.gz"), "model '../store/one.tar.gz': "),
        (("--model", "/etc/passwd"), "model '/etc/passwd': "),
        (("--set", "POLYHOST_ZYGOTES"), "'POLYHOST_ZYGOTES' must be NAME=VALUE"),
        (("--set", "1A=b"), "'1A=b' must be NAME=VALUE"),
        (("--set", "POLYHOST_ZYGOTES=none"), "POLYHOST_ZYGOTES='none': must be auto, all, or any of"),
        (("--set", "A=b\nC=d"), "printable values of one line"),
        (("--set", "SAGEMAKER_BASE_DIR=/x"), "SAGEMAKER_BASE_DIR cannot be a setting of a bundle"),
        (("--set", "POLYHOST_BEARER_TOKEN=abc"), "a secret does not belong into a file"),
        (("--set", "POLYHOST_SIGNING_KEYS=abc"), "secrets do not belong into a file"),
    ],
)
def test_what_cannot_be_bundled_is_told(
    model_folder: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    assert said in refused(tmp_path, tmp_path / "bundle", "--store", model_folder, *arguments)


def test_archives_that_cannot_be_unpacked_are_named(tmp_path: Path) -> None:
    store = tmp_path / "store"
    put(store, "good.tar.gz", says("x"))
    put(store, "text.tar.gz", b"no archive")
    assert f"model 'text.tar.gz': {store}/text.tar.gz cannot be unpacked" in refused(
        tmp_path, tmp_path / "bundle", "--store", store
    )
    put(store, "text.tar.gz", archive_of("empty")[:-20])
    assert "cannot be unpacked" in refused(tmp_path, tmp_path / "bundle", "--store", store)


def test_links_and_names_that_no_checksum_holds_are_refused(tmp_path: Path) -> None:
    store = tmp_path / "store"
    (store / "m").mkdir(parents=True)
    (store / "m" / "inference.py").write_text("")
    (store / "m" / "link").symlink_to("/etc/passwd")
    assert f"{store}/m/link is no file" in refused(tmp_path, tmp_path / "bundle", "--store", store)
    (store / "m" / "link").unlink()
    (store / "m" / "a\nb").write_text("")
    assert "holds 'a\\nb'" in refused(tmp_path, tmp_path / "bundle", "--store", store)


def test_the_place_must_be_free_and_its_parent_there(bundle: Path, model_folder: Path, tmp_path: Path) -> None:
    before = (bundle / "SHA256SUMS").stat().st_mtime_ns
    assert f"{bundle} exists" in refused(tmp_path, bundle, "--store", model_folder)
    assert (bundle / "SHA256SUMS").stat().st_mtime_ns == before
    assert "cannot make" in refused(tmp_path, tmp_path / "none" / "bundle", "--store", model_folder)


def test_an_empty_store_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    assert "has no model '*'" in refused(tmp_path, tmp_path / "bundle", "--store", tmp_path / "store")


@pytest.mark.parametrize(
    "arguments", [("--save-image",), ("--engine", "docker"), ("--image", "a", "--engine", "docker")]
)
def test_wrong_use(model_folder: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run_polyhost("bundle", tmp_path / "bundle", "--store", model_folder, *arguments)
    assert done.returncode == 2 and "give --" in done.stderr
