import os
import sys
from pathlib import Path

import pytest

from polyhost.container.config import Config
from polyhost.container.errors import ConfigError
from polyhost.container.layers.folder import prepared


def config(state_dir: Path, mode: str = "wheels") -> Config:
    return Config.from_environ({"POLYHOST_REQUIREMENTS": mode, "POLYHOST_STATE_DIR": str(state_dir)})


def test_layers_are_in_the_state_folder(tmp_path: Path) -> None:
    found = prepared(config(tmp_path / "state"), tmp_path / "run")
    assert found.layers_dir == str(tmp_path / "state" / "layers")
    assert {path.name for path in (tmp_path / "state" / "layers").iterdir()} == {
        *("layers", "texts", "locks", "building")
    }  # fmt: skip
    assert Config.from_json(found.to_json()) == found


def test_where_nothing_can_be_kept_they_are_in_the_run_folder(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    assert prepared(config(tmp_path / "state"), tmp_path / "run").layers_dir == str(tmp_path / "run" / "layers")


def test_off_makes_nothing(tmp_path: Path) -> None:
    assert prepared(config(tmp_path / "state", "off"), tmp_path / "run").layers_dir is None
    assert list(tmp_path.iterdir()) == []


def test_what_installs_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [os.devnull])
    for name in ("uv", "packaging"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(
        ConfigError, match=r"POLYHOST_REQUIREMENTS='wheels': uv and packaging .*polyhost\[requirements\]"
    ):
        prepared(config(tmp_path / "state"), tmp_path / "run")
