from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from polyhost.handlers import registry
from polyhost.handlers.base import Handler
from polyhost.handlers.errors import BadModelError
from polyhost.handlers.settings import Settings
from tests.handlers.conftest import Archive


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (["net-symbol.json", "net-0000.params", "net-shapes.json", "synset.txt"], "mxnet"),
        (["model.pt", "labels.txt"], "torch"),
        (["model.pt2"], "torch"),
        (["model.pth"], "torch"),
        (["model.joblib"], "sklearn"),
        (["pickled_rf_model.p", ".DS_Store", "._model.pt"], "sklearn"),
        (["model.joblib", "inference.py"], "script"),
        (["model.joblib", "model.pt", "code/inference.py"], "script"),
    ],
)
def test_the_files_choose(archive: Archive, files: list[str], name: str) -> None:
    assert registry.choose(archive(**dict.fromkeys(files, "")), Settings()) == name


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ([], "Nothing here can be served. Found at the archive's root: nothing. Accepted: script: inference.py"),
        (["model/net.pt", "notes.txt"], "Found at the archive's root: model/, notes.txt"),
        (["._model.pt", ".hidden.pkl", "__MACOSX/model.pt"], "root: nothing"),
        (["model.pt", "scaler.pkl"], "Files of 2 frameworks fit (torch, sklearn)"),
    ],
)
def test_no_choice_says_what_is_there_and_what_would_do(archive: Archive, files: list[str], text: str) -> None:
    with pytest.raises(BadModelError) as raised:
        registry.choose(archive(**dict.fromkeys(files, "")), Settings())
    assert text in str(raised.value)
    assert "mxnet: *-symbol.json" in str(raised.value)


@pytest.mark.parametrize("import_string", registry.HANDLERS.values())
def test_every_entry_of_the_table_is_a_handler(import_string: str) -> None:
    assert issubclass(registry.resolve(import_string), Handler)


@pytest.mark.parametrize(
    ("files", "handler", "framework"),
    [
        ({"model.pt": ""}, None, "torch"),
        ({"model.pt": ""}, registry.OWN_HANDLER, "torch"),
        ({"a.txt": ""}, None, None),
        ({"model.pt": "", "model.pkl": ""}, None, None),
        ({"inference.py": "import json"}, None, None),
        ({"inference.py": "import numpy"}, None, "sklearn"),
        ({"inference.py": "import numpy", "model.pt": ""}, None, "torch"),
        ({"inference.py": "def f():\n    from mxnet import nd", "model.pkl": ""}, None, "mxnet"),
        ({"code/inference.py": "import sklearn.svm, torch"}, None, "torch"),
        ({"inference.py": "from . import torch"}, None, None),
        ({"inference.py": "this is not Python"}, None, None),
        ({"own.py": "import mxnet as mx"}, "own.py:handle", "mxnet"),
        ({"own.py": "import mxnet as mx"}, "own:handle", "mxnet"),
        ({"code/deep/own.py": "import torch"}, "deep.own:handle", "torch"),
        ({"own/__init__.py": "import joblib"}, "own", "sklearn"),
        ({"own.py": "import torch", "inference.py": "import mxnet"}, "own:handle", "torch"),
        ({"a.txt": ""}, "no_such_module:handle", None),
        (
            {"own.py": "import torch", "MAR-INF/MANIFEST.json": json.dumps({"model": {"handler": "own:h"}})},
            None,
            "torch",
        ),
        ({"model.pt": "", "MAR-INF/MANIFEST.json": "[]"}, None, None),
    ],
)
def test_the_framework_to_keep_warm(
    archive: Archive, files: dict[str, str], handler: str | None, framework: str | None
) -> None:
    assert registry.framework_of(str(archive(**files)), handler) == framework


def test_an_own_handler_by_its_absolute_path(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "model_handler.py").write_text("import mxnet")
    assert registry.framework_of(str(archive()), f"{tmp_path / 'model_handler.py'}:handle") == "mxnet"


def test_an_own_handler_on_the_search_path(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "installed_handler.py").write_text("import sklearn")
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.framework_of(str(archive()), "installed_handler:handle") == "sklearn"


def test_a_folder_that_is_not_there_has_no_framework() -> None:
    assert registry.framework_of("/no/such/folder", None) is None


def test_the_registry_needs_the_standard_library_only() -> None:
    code = "import sys, polyhost.handlers.registry; print(*{name.partition('.')[0] for name in sys.modules})"
    names = set(_python(code).split())
    assert names - sys.stdlib_module_names - {"polyhost"} <= {"sitecustomize", "__main__", "_distutils_hack"} | _site()


# Without these numpy's OpenBLAS, OpenMP and MXNet's engine each start threads; the container sets them for its zygotes.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MXNET_ENGINE_TYPE": "NaiveEngine", "MXNET_USE_OPERATOR_TUNING": "0"}

FIRST_CALLS = {"sklearn": "digits_forest", "torch": "torch_program", "mxnet": "mxnet_net"}


@pytest.mark.parametrize("framework", FIRST_CALLS)
def test_a_zygote_has_one_thread_and_its_models_import_nothing(framework: str, request: pytest.FixtureRequest) -> None:
    """A fork keeps the calling thread only; and what one model had to import, every model would."""
    folder = request.getfixturevalue(FIRST_CALLS[framework])
    code = f"""
import os, sys
print(len(os.listdir("/proc/self/task")))
from tests.handlers.served import Served, picture, npy
import numpy
image = picture(numpy.zeros((8, 8)))
jpeg = picture(numpy.zeros((8, 8)), "JPEG")
before = set(sys.modules)
served = Served({str(folder)!r})
served.ask(image, "image/png"), served.ask(jpeg, "image/jpeg")
served.ask("[[1, 2]]"), served.ask("1,2", "text/csv")
served.ask(npy(numpy.zeros((1, 1, 4, 4), "float32")), "application/x-npy")
print(sorted(set(sys.modules) - before))
"""
    assert _python(_preloading(registry.PRELOAD[framework]) + code) == "1\n[]"


@pytest.mark.parametrize("zygote", registry.PRELOAD.keys() - FIRST_CALLS.keys())
def test_a_zygote_without_a_framework_has_one_thread(zygote: str) -> None:
    code = "import os; print(len(os.listdir('/proc/self/task')))"
    assert _python(_preloading(registry.PRELOAD[zygote]) + code) == "1"


def _preloading(steps: tuple[str, ...]) -> str:
    """Source that does what a zygote does with its steps."""
    return f"""
import importlib, warnings
warnings.simplefilter("ignore")
for module, _, function in (step.partition(":") for step in {steps!r}):
    module = importlib.import_module(module)
    if function:
        getattr(module, function)()
"""


def _python(code: str) -> str:
    environ = {**os.environ, **ONE_THREAD}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout.strip()


def _site() -> set[str]:
    """What an interpreter of this environment imports at its start, by .pth files."""
    return set(_python("import sys; print(*{name.partition('.')[0] for name in sys.modules})").split())
