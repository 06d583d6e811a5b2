"""Each command without the packages of each extra: a sentence with the extra and how to install it, no traceback."""

import re
from collections.abc import Callable
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

from polyhost.cli.extras import MODULES
from tests.support.command import run_polyhost
from tests.support.model_store import archive_of, put

# Python's own finder, which does not see some packages. `site` imports it before anything else.
HIDE = """
import sys
from importlib.machinery import PathFinder
class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {hidden!r} else PathFinder.find_spec(name, path, target)
sys.meta_path[:] = [Hiding if finder is PathFinder else finder for finder in sys.meta_path]
"""
PLAN = ("plan", "--models", "3", "--rate", "1", "--memory-mb", "1", "--cold-ms", "1", "--hot-ms", "1")
MACHINE = ("--type", "mine=8000MB,1", "--machines", "1")
EXTRAS: dict[str, tuple[str, ...]] = {
    "emulator": ("a2wsgi", "aiohttp", "boto3", "jsonpath_ng", "moto", "starlette", "uvicorn", "uvloop"),
    "plot": ("matplotlib",),
    "requirements": MODULES["requirements"],
    "serve": (*MODULES["serve"], "pynvml", "pkg_resources"),
    "store": ("obstore",),
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    put(tmp_path / "store", "echo.tar.gz", archive_of("echo"))
    (tmp_path / "metrics").write_text('polyhost_loads_total{model="a"} 1\n')
    (tmp_path / "wanted").mkdir()
    (tmp_path / "wanted" / "requirements.txt").write_text("polyhost-has-no-such-package==1\n")
    (tmp_path / "wanted" / "inference.py").write_text("def model_fn(folder): return 1\n")
    return tmp_path / "store"


def hiding(folder: Path, extra: str) -> dict[str, str]:
    """Return the variables with which a Python and its children do not have the packages of an extra."""
    (folder / "hide").mkdir()
    (folder / "hide" / "sitecustomize.py").write_text(HIDE.format(hidden=set(EXTRAS[extra])))
    return {"PYTHONPATH": str(folder / "hide")}


NEED: dict[str, tuple[str, Callable[[Path], tuple[str, ...]]]] = {
    "serve a folder": ("serve", lambda store: ("serve", "--store", str(store))),
    "serve natively": ("serve", lambda store: ("serve", "--store", str(store), "--frontend", "native")),
    "check": ("serve", lambda store: ("check", str(store / "echo.tar.gz"))),
    "plan from metrics": (
        "serve",
        lambda store: ("plan", "--metrics", str(store.parent / "metrics"), "--rate", "1", *MACHINE),
    ),
    "serve S3": ("store", lambda store: ("serve", "--store", "s3://bucket/models/")),
    "serve with packages": (
        "requirements",
        lambda store: ("serve", "--store", str(store), "--requirements", "install"),
    ),
    "pack wheels": (
        "requirements",
        lambda store: ("pack", str(store.parent / "wanted"), "--with-wheels", "-o", str(store.parent / "made.tar.gz")),
    ),
    "check with packages": ("requirements", lambda store: ("check", str(store.parent / "wanted"))),
    "plot": ("plot", lambda store: (*PLAN, *MACHINE, "--plot", str(store.parent / "plan.png"))),
    "emulator": ("emulator", lambda store: ("emulator", "--port", "0")),
}


@pytest.mark.parametrize("command", NEED)
def test_a_missing_extra_is_named(command: str, store: Path, tmp_path: Path) -> None:
    extra, arguments = NEED[command]
    setting = {"POLYHOST_REQUIREMENTS": "install"} if command == "check with packages" else {}
    done = run_polyhost(*arguments(store), environ=hiding(tmp_path, extra) | setting)
    assert done.returncode in (1, 2), done.stderr
    assert done.stderr.startswith("polyhost: ") and len(done.stderr.splitlines()) == 1, done.stderr
    assert f"pip install 'polyhost[{extra}]'" in done.stderr
    assert any(package in done.stderr for package in EXTRAS[extra])


NEED_NOTHING: dict[str, Callable[[Path], tuple[str, ...]]] = {
    "pack": lambda store: ("pack", str(store.parent / "wanted"), "-o", str(store.parent / "made.tar.gz")),
    "bundle": lambda store: ("bundle", str(store.parent / "bundle"), "--store", str(store)),
    "plan": lambda store: (*PLAN, *MACHINE),
    "plan of a store": lambda store: ("plan", "--store", str(store), *PLAN[3:5], *PLAN[7:], *MACHINE),
    "help": lambda store: ("--help",),
}


@pytest.mark.parametrize("command", NEED_NOTHING)
def test_other_commands_need_no_extra(command: str, store: Path, tmp_path: Path) -> None:
    done = run_polyhost(*NEED_NOTHING[command](store), environ=hiding(tmp_path, "serve"))
    assert done.returncode == 0, done.stderr


def test_check_of_a_model_that_asks_for_no_packages_takes_no_requirements(store: Path, tmp_path: Path) -> None:
    done = run_polyhost("check", store / "echo.tar.gz", environ=hiding(tmp_path, "requirements"))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("extra", MODULES)
def test_all_packages_of_an_extra_are_looked_for(extra: str) -> None:
    """All but nvidia-ml-py, which is for machines with GPUs."""
    distributions = packages_distributions()
    found = {plain(name) for module in MODULES[extra] for name in distributions[module]}
    declared = {plain(line) for line in requires("polyhost") or () if re.search(f"extra == ['\"]{extra}['\"]", line)}
    assert declared - {"nvidia-ml-py"} == found


def plain(requirement: str) -> str:
    """Return the name of the package, as pip compares it."""
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()
