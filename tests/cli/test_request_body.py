from pathlib import Path

import pytest

from polyhost.cli import request_body as payload
from polyhost.cli.errors import CommandError


@pytest.mark.parametrize(
    ("source", "media_type"),
    [("rows.csv", "text/csv"), ("a/cat.JPG", "image/jpeg"), ("x.npy", "application/x-npy"), ("-", "application/json")],
)
def test_the_media_type_follows_from_the_name(source: str, media_type: str) -> None:
    assert payload.media_type(source) == media_type


def test_an_unknown_name_asks_for_the_media_type() -> None:
    with pytest.raises(CommandError, match=r"rows\.parquet; name it with --content-type"):
        payload.media_type("rows.parquet")


def test_a_missing_body_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"cannot read the body .*rows\.csv: No such file"):
        payload.read(str(tmp_path / "rows.csv"))
