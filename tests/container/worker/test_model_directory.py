"""Whether a model's files can be read, and the remedy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.file_modes import HEEDING_MODES

ASK = """
import sys
from pathlib import Path
from polyhost.container.worker.model_directory import why_unreadable
print(why_unreadable(Path(sys.argv[1])) or "")
"""


def why(path: Path) -> str:
    command = [sys.executable, *HEEDING_MODES, "-c", ASK, str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


@pytest.mark.parametrize("blocked", ["a", "a/b", "a/b/file"])
def test_the_first_part_that_blocks_is_named(tmp_path: Path, blocked: str) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch()
    path = tmp_path / blocked
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        reason = why(tmp_path / "a" / "b" / "file")
    finally:
        path.chmod(mode)
    remedy = f"make it readable, for example by chmod -R a+rX {path}"
    assert reason == f"{path} cannot be read by user {os.geteuid()}; {remedy}"


def test_a_folder_must_be_readable_and_searchable(tmp_path: Path) -> None:
    for mode, readable in ((0o500, True), (0o400, False), (0o100, False)):
        folder = tmp_path / f"{mode:o}"
        folder.mkdir(mode)
        assert (why(folder) == "") == readable, f"{mode:o}"


def test_what_can_be_read_and_what_does_not_exist_need_no_reason(tmp_path: Path) -> None:
    assert why(tmp_path) == why(tmp_path / "missing") == why(tmp_path / "missing" / "file") == ""
