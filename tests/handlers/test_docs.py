"""The examples of docs/handlers.md do what its text says."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from mms.context import Context, RequestProcessor

from polyhost.handlers import shapes_file as shapes
from tests.handlers.conftest import Archive
from tests.handlers.served import Served

TEXT = (Path(__file__).parents[2] / "docs" / "handlers.md").read_text()


def block(first_line: str) -> str:
    found = [source for source in re.findall(r"```\w+\n(.*?)```", TEXT, re.DOTALL) if source.startswith(first_line)]
    assert len(found) == 1, f"{len(found)} examples start with {first_line!r}"
    return str(found[0])


def test_the_script(archive: Archive) -> None:
    served = Served(archive(**{"inference.py": block("# inference.py\n"), "weights.json": "[2, 3]"}))
    assert served.ask("1,10", "text/csv").body == b'{"score": 32.0}'
    assert served.ask("[1, 10]").status == 415


def test_the_script_of_one_function(archive: Archive, moons_forest: Path) -> None:
    model = (moons_forest / "pickled_rf_model.p").read_bytes()
    folder = archive(**{"model.joblib": model, "inference.py": block("# inference.py, beside model.joblib")})
    assert Served(folder).ask("2,-1\n-1,1", "text/csv").body == b"yes\nno"


def test_the_script_that_yields(archive: Archive) -> None:
    served = Served(archive(**{"inference.py": block("# inference.py, in pieces")}))
    assert b"".join(piece.encode() for piece in served.ask("", "text/plain").body) == b"one\ntwo\nthree\n"


def test_the_own_handler(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = archive(**{"model_handler.py": block("# model_handler.py"), "unit.txt": "bytes\n"})
    monkeypatch.syspath_prepend(folder)
    module = importlib.import_module("model_handler")
    context = Context("length", str(folder), {}, 1, None, "1.1.11")
    assert module.handle(None, context) is None
    context.request_processor = [RequestProcessor({})]
    assert module.handle([{"body": bytearray(b"four")}], context) == ["4 bytes"]


def test_the_shapes_file(tmp_path: Path) -> None:
    path = tmp_path / "shapes.json"
    path.write_text(block('[{"shape"'))
    assert shapes.read(path) == [shapes.InputShape("data", (1, 3, 224, 224))]
