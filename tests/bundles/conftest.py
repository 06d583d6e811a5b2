"""A bundle of two models, made by the command."""

from pathlib import Path

import pytest

from tests.support.command import run_polyhost
from tests.support.model_store import put, says


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a store with an archive in a folder of its own, an unpacked model, and a file that is neither."""
    store = tmp_path_factory.mktemp("store")
    put(store, "team/one.tar.gz", says("one"))
    two = store / "two" / "model"
    two.mkdir(parents=True)
    (two / "inference.py").write_text(
        "def model_fn(d): return 1\ndef transform_fn(m, b, c, a): return 'two', 'text/plain'\n"
    )
    return store


@pytest.fixture
def bundle(model_folder: Path, tmp_path: Path) -> Path:
    """Make a bundle of both models with the name of an image."""
    target = tmp_path / "bundle"
    settings = ("--set", "POLYHOST_ZYGOTES=bare", "--set", "POLYHOST_LOAD_AT_START=*")
    done = run_polyhost("bundle", target, "--store", model_folder, *settings, "--image", "polyhost-none:1")
    assert done.returncode == 0, done.stderr
    return target
