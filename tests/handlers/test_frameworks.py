"""The rows of the frameworks, those of other distributions, and what a zygote makes of them."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polyhost.handlers import frameworks
from polyhost.handlers.frameworks import Framework, ZygoteSteps
from tests.support.distribution import install


def skip_unless_installed(framework: str) -> None:
    if importlib.util.find_spec(frameworks.package(framework)) is None:
        pytest.skip(f"{framework} is not installed")


def test_standard_library_only() -> None:
    code = "import sys, polyhost.handlers.lookup; print(*{name.partition('.')[0] for name in sys.modules})"
    names = set(python(code).split())
    assert names - sys.stdlib_module_names - {"polyhost"} <= {"sitecustomize", "__main__", "_distutils_hack"} | _site()


@pytest.mark.parametrize("row", frameworks.BUILT_IN, ids=lambda row: row.name)
def test_every_row_names_a_handler(row: Framework) -> None:
    skip_unless_installed(row.name)
    from polyhost.handlers.base import Handler

    assert issubclass(frameworks.resolve(row.handler), Handler)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"name": "two words"}, "name='two words': must be the name of a package"),
        ({"name": "script"}, "name='script': must be the name of a package"),
        ({"handler": "xgboost_handler"}, "'xgboost_handler' must be written as 'module:attribute'"),
        ({"warm_up": "xgboost_handler:"}, "'xgboost_handler:' must be written as 'module:attribute'"),
        ({"files": "*.ubj"}, "files='*.ubj': must be a tuple of strings"),
        ({"shared_files": ("*.txt",)}, "shared_files=('*.txt',): recognizes must name a function"),
        ({"recognizes": "files.is_model"}, "'files.is_model' must be written as 'module:attribute'"),
    ],
)
def test_wrong_field_is_named(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match="must") as raised:
        Framework(**{"name": "xgboost", "handler": "m:C", **fields})
    assert text in str(raised.value)


def test_environment_has_no_threads() -> None:
    assert frameworks.environment().items() >= ONE_THREAD.items()


def test_unknown_framework_has_default_values() -> None:
    row = frameworks.named(frameworks.BARE)
    assert (row.base_bytes, row.bytes_factor, row.uses_gpu) == (12 << 20, 2.0, False)


def test_random_generators_are_reseeded() -> None:
    import numpy

    frameworks.reseed(7)
    first = numpy.random.random(3).tolist()
    frameworks.reseed(7)
    assert numpy.random.random(3).tolist() == first


# Plugins: a real distribution in a folder of its own on the search path.

PLUGIN = """
from polyhost.handlers.frameworks import Framework
ROW = Framework(name="linear", handler="linear_handler:LinearHandler", files=("*.linear",), imports=("linear",),
                environment={"LINEAR_THREADS": "1"}, out_of_memory=("No More Lines",))
NO_ROW = "linear_handler:LinearHandler"
SECOND = Framework(name="linear", handler="m:C")
BUILT_IN = Framework(name="torch", handler="m:C")
"""
HANDLER = """
from polyhost.handlers.base import Handler
class LinearHandler(Handler):
    def load(self, source):
        self.factor = float(next(source.directory.glob("*.linear")).read_text())
    def predict(self, inputs, request):
        return [[self.factor * value for value in row] for row in inputs.values]
"""

Install = Callable[..., Path]


@pytest.fixture
def plugin(tmp_path: Path) -> Install:
    """Install a distribution with these entry points: `plugin(linear="linear_plugin:ROW")`; return its folder."""

    def install_plugin(**entry_points: str) -> Path:
        site = tmp_path / "site"
        install(site, frameworks.ENTRY_POINTS, entry_points, linear_plugin=PLUGIN, linear_handler=HANDLER)
        return site

    return install_plugin


def test_plugin_serves_its_models(plugin: Install, tmp_path: Path) -> None:
    site, model = plugin(linear="linear_plugin:ROW"), tmp_path / "model"
    model.mkdir()
    (model / "double.linear").write_text("2")
    code = f"""
from pathlib import Path
from polyhost.container.memory.oom import is_out_of_memory
from polyhost.handlers import frameworks, lookup
from polyhost.handlers.settings import Settings
from tests.handlers.served import Served
model = Path({str(model)!r})
assert lookup.choose(model, Settings()) == lookup.framework_of(model, None, Settings()) == "linear"
assert Served(model).post("[[1, 2]]").json == [[2, 4]]
assert frameworks.environment()["LINEAR_THREADS"] == "1"
assert frameworks.zygote_steps()["linear"].imports[-1] == "linear_handler"
assert is_out_of_memory(RuntimeError("no more lines"))
(model / "inference.py").write_text("import linear, sklearn")
assert lookup.framework_of(model, None, Settings()) == "linear"
print(dict(frameworks.broken_plugins()))
"""
    assert python(code, PYTHONPATH=str(site)) == "{}"


@pytest.mark.parametrize(
    ("entry_points", "name", "reason"),
    [
        ({"a": "no_such_module:ROW"}, "a", "ModuleNotFoundError: No module named 'no_such_module'"),
        ({"a": "linear_plugin:MISSING"}, "a", "AttributeError: module 'linear_plugin' has no attribute 'MISSING'"),
        ({"a": "linear_plugin:NO_ROW"}, "a", "TypeError: linear_plugin:NO_ROW is an object of type str; it must be a"),
        ({"b": "linear_plugin:SECOND", "a": "linear_plugin:ROW"}, "b", "there is a framework 'linear' already"),
        ({"a": "linear_plugin:BUILT_IN"}, "a", "there is a framework 'torch' already"),
    ],
)
def test_broken_plugin_is_skipped(plugin: Install, entry_points: dict[str, str], name: str, reason: str) -> None:
    code = f"""
from polyhost.handlers import frameworks
assert list(frameworks.registered())[-len(frameworks.BUILT_IN):] == [row.name for row in frameworks.BUILT_IN]
print(frameworks.broken_plugins()[{name!r}])
"""
    assert reason in python(code, PYTHONPATH=str(plugin(**entry_points)))


def test_models_of_a_broken_plugin_fail_with_its_reason(plugin: Install, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "double.linear").touch()
    code = f"""
from tests.handlers.served import Served
try:
    Served({str(model)!r})
except Exception as error:
    print(error)
"""
    message = python(code, PYTHONPATH=str(plugin(linear="linear_plugin:MISSING")))
    assert "nothing here can be served; found at the archive's root: double.linear" in message
    assert "; the handler plugin linear is not used: AttributeError: module 'linear_plugin' has no" in message


# Zygotes

# Without these numpy's OpenBLAS, OpenMP and MXNet's engine each start threads; the container sets them for its zygotes.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MXNET_ENGINE_TYPE": "NaiveEngine",
    "MXNET_USE_OPERATOR_TUNING": "0",
    "ORT_DISABLE_TELEMETRY": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # of PyArrow, which pandas imports if it is installed
}

FIRST_CALLS = {
    "sklearn": "digits_forest",
    "xgboost": "boosted",
    "lightgbm": "boosted_text",
    "onnx": "onnx_net",
    "torch": "torch_program",
    "mxnet": "mxnet_net",
}


@pytest.mark.parametrize("framework", FIRST_CALLS)
def test_zygote_has_one_thread_and_its_models_import_nothing(framework: str, request: pytest.FixtureRequest) -> None:
    """A fork keeps the calling thread only; and what one model had to import, every model would."""
    skip_unless_installed(framework)
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
served.post(image, "image/png"), served.post(jpeg, "image/jpeg")
served.post("[[1, 2]]"), served.post("1,2", "text/csv")
served.post(npy(numpy.zeros((1, 1, 4, 4), "float32")), "application/x-npy")
print(sorted(set(sys.modules) - before))
"""
    assert python(preloading(frameworks.zygote_steps()[framework]) + code) == "1\n[]"


def test_bare_zygote_has_one_thread() -> None:
    code = "import os; print(len(os.listdir('/proc/self/task')))"
    assert python(preloading(frameworks.zygote_steps()[frameworks.BARE]) + code) == "1"


def preloading(steps: ZygoteSteps) -> str:
    """Source that does what a zygote does with its steps."""
    return f"""
import importlib, warnings
warnings.simplefilter("ignore")
for module, _, function in (step.partition(":") for step in {tuple(steps)!r}):
    module = importlib.import_module(module)
    if function:
        getattr(module, function)()
"""


def python(code: str, **environ: str) -> str:
    path = os.pathsep.join([environ.pop("PYTHONPATH", ""), str(Path(__file__).parents[2])])
    environ = {**os.environ, **ONE_THREAD, **environ, "PYTHONPATH": path.strip(os.pathsep)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout.strip()


def _site() -> set[str]:
    """Return what an interpreter of this environment imports at its start, by .pth files."""
    return set(python("import sys; print(*{name.partition('.')[0] for name in sys.modules})").split())
