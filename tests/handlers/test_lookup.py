"""The rules by which a handler is found, and what happens to a model that no handler fits."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from polyhost.handlers import lookup, model_files
from polyhost.handlers.errors import BadModelError, HandlerNotFoundError
from polyhost.handlers.settings import Settings
from tests.handlers.conftest import Archive


def manifest(handler: Any) -> str:
    return json.dumps({"model": {"modelName": "m", "handler": handler}})


M = "MAR-INF/MANIFEST.json"

# The manifest's text, the handler that the container takes, and what `strict` rejects it with.
MANIFESTS = [
    (None, lookup.SERVICE, None),
    (manifest("own.py:handle"), "own.py:handle", None),
    (manifest("handlers.service:handle"), lookup.SERVICE, None),
    (manifest("polyhost.handlers.service"), lookup.SERVICE, None),
    ("{}", lookup.SERVICE, "names no handler; write"),
    ('{"model": null}', lookup.SERVICE, "names no handler; write"),
    ('{"model": {"modelName": "m"}}', lookup.SERVICE, "names no handler; write"),
    (manifest(None), lookup.SERVICE, "names no handler; write"),
    (manifest(""), lookup.SERVICE, "names no handler; write"),
    (manifest(5), HandlerNotFoundError, 'names no handler: "model" is {"modelName": "m", "handler": 5}'),
    ('{"model": []}', HandlerNotFoundError, 'names no handler: "model" is []'),
    ('{"model": "own.py"}', HandlerNotFoundError, 'names no handler: "model" is "own.py"'),
    ("[]", HandlerNotFoundError, "holds a list; it must hold an object"),
    ("{", HandlerNotFoundError, "is not JSON"),
    (b"caf\xe9", HandlerNotFoundError, "is not JSON"),
    ("[" * 100_000, HandlerNotFoundError, "is not JSON"),
    ('{"model": {"handler": "own.py:handle"}}' + " " * 262_144, HandlerNotFoundError, "has more than 262144 bytes"),
]


@pytest.mark.parametrize(("text", "named", "rejection"), MANIFESTS, ids=lambda value: repr(value)[:40])
@pytest.mark.parametrize("strict", [False, True])
def test_handler_by_manifest(
    archive: Archive, text: str | bytes | None, named: str | type[Exception], rejection: str | None, strict: bool
) -> None:
    folder = archive(**({} if text is None else {M: text}))
    if isinstance(named, str) and not (strict and rejection):
        assert lookup.handler_name(lookup.read_manifest(folder), strict=strict) == named
        return
    with pytest.raises(HandlerNotFoundError) as raised:
        lookup.handler_name(lookup.read_manifest(folder), strict=strict)
    assert rejection is not None and f"{M} {rejection}" in str(raised.value)
    assert (raised.value.status, raised.value.phase) == (400, "load")


@pytest.mark.parametrize(
    ("named_by", "named"),
    [
        ({}, "own.py:handle"),
        ({"setting": "other:handle"}, "own.py:handle"),
        ({"setting": lookup.SERVICE}, "own.py:handle"),
        ({"setting": "other:handle", "requested": "asked.py:handle"}, "asked.py:handle"),
        ({"requested": "handlers.service:handle"}, lookup.SERVICE),
        ({"requested": ""}, "own.py:handle"),
    ],
)
def test_manifest_comes_before_the_setting_and_the_load_request_before_both(named_by: Any, named: str) -> None:
    assert lookup.handler_name(json.loads(manifest("own.py:handle")), **named_by) == named


@pytest.mark.parametrize("text", ["{}", '{"model": {"modelName": "m"}}', manifest(""), None])
def test_setting_is_for_archives_that_name_none(archive: Archive, text: str | None) -> None:
    found = lookup.read_manifest(archive(**({} if text is None else {M: text})))
    assert lookup.handler_name(found, "other:handle", strict=True) == "other:handle"


@pytest.mark.parametrize("runtime", ["python", "python2", "python3", "python2.7", "Python 3.11", "PYTHON3", "python-3"])
def test_runtime_that_is_a_python(archive: Archive, runtime: str) -> None:
    folder = archive(**{M: json.dumps({"model": {"handler": "own.py:handle"}, "runtime": runtime})})
    assert lookup.handler_name(lookup.read_manifest(folder)) == "own.py:handle"
    if runtime in ("python", "python2", "python3"):
        assert lookup.describe(folder, None, Settings(), strict=True) == "own.py:handle"
    else:  # Multi Model Server rejects it
        with pytest.raises(HandlerNotFoundError, match=f'"runtime" is "{runtime}"; it must be one of python, python2'):
            lookup.describe(folder, None, Settings(), strict=True)


@pytest.mark.parametrize("runtime", ["java8", "", "nonsense", "python.", None, 3, ["python"]])
def test_runtime_that_is_no_python(archive: Archive, runtime: Any) -> None:
    folder = archive(**{M: json.dumps({"model": {"handler": "own.py:handle"}, "runtime": runtime})})
    with pytest.raises(HandlerNotFoundError) as raised:
        lookup.read_manifest(folder)
    assert f'{M}: "runtime" is {json.dumps(runtime)}; it must be one of python, python2, python3' in str(raised.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_manifest_with_a_byte_order_mark(archive: Archive, encoding: str) -> None:
    folder = archive(**{M: manifest("größe.py:handle").encode(encoding)})
    assert lookup.describe(folder, None, Settings(), strict=True) == "größe.py:handle"


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (["net-symbol.json", "net-0000.params", "net-shapes.json", "synset.txt"], "mxnet"),
        (["model.pt", "labels.txt"], "torch"),
        (["model.pt2"], "torch"),
        (["model.pth"], "torch"),
        (["model.jit"], "torch"),
        (["model.joblib"], "sklearn"),
        (["pickled_rf_model.p", ".DS_Store", "._model.pt"], "sklearn"),
        (["model.joblib", "inference.py"], "script"),
        (["model.ubj", "config.json", "labels.txt"], "xgboost"),
        (["xgboost-model"], "xgboost"),
        (["model.pt", "config.json", "labels.txt", "sentencepiece.model"], "torch"),
        (["net-symbol.json", "net-0000.params", "net-shapes.json"], "mxnet"),
        (["model.joblib", "model.pt", "code/inference.py"], "script"),
    ],
)
def test_handler_by_files(archive: Archive, files: list[str], name: str) -> None:
    assert lookup.describe(archive(**dict.fromkeys(files, "")), None, Settings(), strict=True) == name


def test_description_of_own_handler(archive: Archive) -> None:
    folder = archive(**{"model.pt": "", M: manifest("own.py:handle")})
    assert lookup.describe(folder, None, Settings()) == "own.py:handle"
    assert lookup.describe(folder, "mine:handle", Settings()) == "own.py:handle"
    (folder / M).unlink()
    assert lookup.describe(folder, "mine:handle", Settings()) == "mine:handle"


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ([], "nothing here can be served; found at the archive's root: nothing; accepted: script: inference.py"),
        (["model/net.pt", "notes.txt"], "found at the archive's root: model/, notes.txt"),
        (["._model.pt", ".hidden.pkl", "__MACOSX/model.pt"], "root: nothing"),
        (["model.pt", "model.ubj"], "files of 2 frameworks fit (torch, xgboost)"),
        (["model.pt", "scaler.pkl"], "files of 2 frameworks fit (torch, sklearn)"),
    ],
)
def test_no_choice_says_what_is_there_and_what_is_accepted(archive: Archive, files: list[str], text: str) -> None:
    with pytest.raises(BadModelError) as raised:
        lookup.choose(archive(**dict.fromkeys(files, "")), Settings())
    assert text in str(raised.value)
    assert "mxnet: *-symbol.json" in str(raised.value)


@pytest.mark.parametrize(
    ("files", "handler", "framework"),
    [
        ({"model.pt": ""}, None, "torch"),
        ({"model.pt": ""}, lookup.SERVICE, "torch"),
        ({"a.rst": ""}, None, None),
        # By an ambiguous name only where nothing else says more; what the file holds is looked at by the load.
        ({"model.txt": ""}, None, "lightgbm"),
        ({"model.json": "", "labels.txt": ""}, None, "xgboost"),
        ({"model.pt": "", "config.json": "", "labels.txt": ""}, None, "torch"),
        ({"model.json": "", "inference.py": "import json"}, None, None),
        ({"model.json": "", "inference.py": "import lightgbm, sklearn"}, None, "lightgbm"),
        ({"xgboost-model": "", "labels.txt": ""}, None, "xgboost"),
        ({"model.pt": "", "model.pkl": ""}, None, None),
        ({"inference.py": "import json"}, None, None),
        ({"inference.py": "import numpy"}, None, "sklearn"),
        ({"inference.py": "import numpy", "model.pt": ""}, None, "torch"),
        ({"inference.py": "def f():\n    from mxnet import nd", "model.pkl": ""}, None, "mxnet"),
        ({"code/inference.py": "import sklearn.svm, torch"}, None, "torch"),
        ({"inference.py": "from . import torch"}, None, None),
        ({"inference.py": "this is not Python"}, None, None),
        ({"inference.py": "x = " + "(" * 1000}, None, None),
        ({"inference.py": b"\0"}, None, None),
        ({"inference.py": "import torch\nx = a" + "[0]" * 1_000_000}, None, "torch"),
        ({"inference.py": "import torch\nx = [" + "1, " * 1_000_000 + "]"}, None, "torch"),
        ({"inference.py": "x = [" + "1, " * 1_000_000 + "]\nimport mxnet", "model.pt": ""}, None, "torch"),
        ({"model.pt": "", **{f"{number}.txt": "" for number in range(2_000)}}, None, None),
        ({"model.pt": "", **{f"{number}.txt": "" for number in range(1_999)}}, None, "torch"),
        ({"model.pt": "", M: " " * 1_000_000 + "{}"}, None, None),
        ({"own.py": "import mxnet as mx"}, "own.py:handle", "mxnet"),
        ({"own.py": "import mxnet as mx"}, "own:handle", "mxnet"),
        ({"code/deep/own.py": "import torch"}, "deep.own:handle", "torch"),
        ({"own/__init__.py": "import joblib"}, "own", "sklearn"),
        ({"own.py": "import torch", "inference.py": "import mxnet"}, "own:handle", "torch"),
        ({"a.txt": ""}, "no_such_module:handle", None),
        ({"own.py": "import torch", M: manifest("own:h")}, None, "torch"),
        ({"own.py": "import torch", "model.pkl": "", M: manifest("own:h")}, lookup.SERVICE, "torch"),
        ({"model.pt": "", M: "[]"}, None, None),
        ({"own.py": "import torch", "other.py": "import mxnet", M: manifest("own:h")}, "other:h", "torch"),
        ({"handler_service.py": "", "code/inference.py": "import torch"}, "handler_service:handle", "torch"),
        ({"own.py": "import mxnet", "code/inference.py": "import torch"}, "own.py", "mxnet"),
    ],
)
def test_zygote_of_a_model(archive: Archive, files: dict[str, str], handler: str | None, framework: str | None) -> None:
    assert lookup.framework_of(archive(**files), handler, Settings()) == framework


def test_zygote_by_the_script_that_the_settings_name(archive: Archive) -> None:
    folder = archive(**{"serve.py": "import torch", "inference.py": "import mxnet"})
    assert lookup.framework_of(folder, None, Settings(program="serve.py")) == "torch"


def test_zygote_of_an_own_handler_by_its_absolute_path(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "model_handler.py").write_text("import mxnet")
    assert lookup.framework_of(archive(), f"{tmp_path / 'model_handler.py'}:handle", Settings()) == "mxnet"


def test_zygote_of_an_installed_handler(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "installed_handler.py").write_text("import sklearn")
    monkeypatch.syspath_prepend(tmp_path)
    assert lookup.framework_of(archive(), "installed_handler:handle", Settings()) == "sklearn"


def test_files_that_never_end_are_not_read(archive: Archive) -> None:
    folder = archive(**{"model.pt": "", "MAR-INF/other": ""})
    (folder / "inference.py").symlink_to("/dev/zero")
    os.mkfifo(folder / "own.py")
    (folder / M).symlink_to("/dev/zero")
    assert lookup.framework_of(folder, "own.py:handle", Settings()) == "torch"
    assert model_files.read_start(Path("/dev/zero"), 10) == model_files.read_start(folder / "own.py", 10) == b""


def test_missing_folder_has_no_framework() -> None:
    assert lookup.framework_of(Path("/no/such/folder"), None, Settings()) is None
