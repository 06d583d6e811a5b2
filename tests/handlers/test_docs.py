"""The examples of docs/handlers.md do what its text says."""

import importlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from mms.context import Context, RequestProcessor

from polyhost.handlers import shapes_file
from polyhost.handlers.frameworks import ENTRY_POINTS
from tests.handlers.conftest import Archive
from tests.handlers.served import Served
from tests.support.distribution import install

TEXT = (Path(__file__).parents[2] / "docs" / "handlers.md").read_text()


def block(first_line: str) -> str:
    found = [source for source in re.findall(r"```\w+\n(.*?)```", TEXT, re.DOTALL) if source.startswith(first_line)]
    assert len(found) == 1, f"{len(found)} examples start with {first_line!r}"
    return str(found[0])


def test_script_example(archive: Archive) -> None:
    served = Served(archive(**{"inference.py": block("# inference.py\n"), "weights.json": "[2, 3]"}))
    assert served.post("1,10", "text/csv").body == b'{"score": 32.0}'
    assert served.post("[1, 10]").status == 415


def test_script_of_one_function_example(archive: Archive, moons_forest: Path) -> None:
    model = (moons_forest / "pickled_rf_model.p").read_bytes()
    folder = archive(**{"model.joblib": model, "inference.py": block("# inference.py, beside model.joblib")})
    assert Served(folder).post("2,-1\n-1,1", "text/csv").body == b"yes\nno"


def test_streaming_script_example(archive: Archive) -> None:
    served = Served(archive(**{"inference.py": block("# inference.py, in pieces")}))
    chunks: Any = served.post("", "text/plain").body
    assert "".join(chunks) == "one\ntwo\nthree\n"


def test_handler_example(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = archive(**{"model_handler.py": block("# model_handler.py"), "unit.txt": "bytes\n"})
    monkeypatch.syspath_prepend(folder)
    module = importlib.import_module("model_handler")
    context = Context("length", str(folder), {}, 1, None, "1.1.11")
    assert module.handle(None, context) is None
    context.request_processor = [RequestProcessor({})]
    assert module.handle([{"body": bytearray(b"four")}], context) == ["4 bytes"]


def test_shapes_file_example(tmp_path: Path) -> None:
    path = tmp_path / "shapes.json"
    path.write_text(block('[{"shape"'))
    assert shapes_file.read(path) == [shapes_file.InputShape("data", (1, 3, 224, 224))]


def test_plugin_example(archive: Archive, tmp_path: Path) -> None:
    entry_points = tomllib.loads(block("# pyproject.toml"))["project"]["entry-points"]["polyhost.handlers"]
    modules = {name: block(f"# {name}.py") for name in ("polyhost_linear", "polyhost_linear_handler")}
    install(tmp_path / "site", ENTRY_POINTS, entry_points, **modules)
    code = f"""
from tests.handlers.served import Served
print(Served({str(archive(**{"double.linear": "2"}))!r}).post("[[1, 2]]").body)
"""
    environ = {**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{Path(__file__).parents[2]}"}
    result = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "b'[[2.0, 4.0]]'"
