"""Addresses of stores, and patterns for names."""

from pathlib import Path

import pytest

from polyhost.container.errors import ConfigError
from polyhost.container.model_store.preparation import prepare
from polyhost.container.model_store.settings import StoreSettings, parse_address, patterns
from polyhost.container.model_store.target_models import matches


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("/models", "file:///models/"),
        ("/models/", "file:///models/"),
        ("file:///models", "file:///models/"),
        ("s3://bucket", "s3://bucket/"),
        ("s3://bucket/", "s3://bucket/"),
        ("s3://bucket/a/b", "s3://bucket/a/b/"),
        ("gs://bucket/a", "gs://bucket/a/"),
        ("az://container/a/", "az://container/a/"),
        ("https://host:8443/models", "https://host:8443/models/"),
    ],
)
def test_addresses_are_read(value: str, shown: str) -> None:
    assert str(parse_address(value)) == shown


@pytest.mark.parametrize(
    "value", ["models", "s3:/b", "s3://", "ftp://h/", "https://h/p?q=1", "/a,/b", "s3://a/ s3://b/"]
)
def test_other_addresses_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"must be an absolute folder|names 2 stores"):
        parse_address(value)


def test_a_name_matches_patterns_of_any_depth() -> None:
    given = patterns("team/*, c.tar.gz")
    assert given == ("team/*", "c.tar.gz")
    assert [name for name in ("team/a", "team/b/c", "c.tar.gz", "d") if matches(name, given)] == [
        "team/a", "team/b/c", "c.tar.gz",
    ]  # fmt: skip


def settings(folder: Path, unpack_dir: Path | None = None) -> StoreSettings:
    folder.mkdir(exist_ok=True)
    return StoreSettings(str(folder), str(unpack_dir) if unpack_dir else None, None, 30, (), ())


def test_a_folder_for_archives_belongs_to_one_container(tmp_path: Path) -> None:
    state, run = tmp_path / "state", tmp_path / "run"
    run.mkdir()
    store = settings(tmp_path / "store")
    assert prepare(store, str(state), run).unpack_dir == str(state / "models")
    assert prepare(store, str(state), run).unpack_dir == str(run / "models")  # the other one is taken
    with pytest.raises(ConfigError, match=r"POLYHOST_UNPACK_DIR=.*another container uses it; choose another folder"):
        prepare(settings(tmp_path / "store", state / "models"), None, run)


def test_a_state_folder_that_cannot_be_used_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    run = tmp_path / "run"
    run.mkdir()
    assert prepare(settings(tmp_path / "store"), str(tmp_path / "state"), run).unpack_dir == str(run / "models")


def test_a_web_servers_models_cannot_be_named_by_a_pattern(tmp_path: Path) -> None:
    store = StoreSettings("https://host/models/", None, None, 30, ("a.tar.gz", "team/*"), ())
    with pytest.raises(ConfigError, match=r"POLYHOST_LOAD_AT_START='team/\*': a web server's models cannot be listed"):
        prepare(store, None, tmp_path)
