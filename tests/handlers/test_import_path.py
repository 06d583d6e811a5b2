import sys
from pathlib import Path

from polyhost.handlers.import_path import put_first


def test_folders_lead_in_their_order_and_once(tmp_path: Path) -> None:
    code, root = tmp_path / "code", tmp_path
    before = sys.path[:]
    put_first(root)
    put_first(code, root, root)
    assert sys.path == [str(code), str(root), *before]
