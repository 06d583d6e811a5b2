"""Request bodies and their media types."""

from pathlib import Path

import pytest

from polyhost.cli import request_body
from polyhost.cli.errors import CommandError


@pytest.mark.parametrize(
    ("source", "media_type"),
    [("rows.csv", "text/csv"), ("a/cat.JPG", "image/jpeg"), ("x.npy", "application/x-npy"), ("-", "application/json")],
)
def test_media_type_follows_from_the_files_name(source: str, media_type: str) -> None:
    assert request_body.media_type(source) == media_type


def test_an_unknown_suffix_needs_the_option() -> None:
    with pytest.raises(CommandError, match=r"rows\.parquet; give it with --content-type"):
        request_body.media_type("rows.parquet")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"cannot read the body .*rows\.csv: No such file"):
        request_body.read(str(tmp_path / "rows.csv"))
