"""The structure that the documentation promises: one name per module, arrows in one direction, no cycles."""

import importlib.util
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
IMPORT_EVERYTHING = """
import importlib, os, pkgutil, sys, warnings
warnings.simplefilter("ignore")
import polyhost
import polyhost.handlers.mxnet.handler  # before NumPy's other users: it makes MXNet importable
for module in pkgutil.walk_packages(polyhost.__path__, "polyhost."):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:  # of a framework that is not installed
            optional = "torch", "sklearn", "transformers", "xgboost", "lightgbm", "onnxruntime", "pandas", "scipy"
            if error.name not in optional:
                raise
for name, module in sorted(sys.modules.items()):
    path = getattr(module, "__file__", None)
    if path and os.path.realpath(path).startswith(OURS):
        print(name, os.path.realpath(path))
"""


@pytest.fixture(scope="module")
def structure() -> ModuleType:
    loader = SourceFileLoader("structure", str(ROOT / "scripts" / "structure"))
    spec = importlib.util.spec_from_loader("structure", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["structure"] = module  # where dataclasses look the module up
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def product(structure: ModuleType) -> dict[str, Any]:
    """Return the product's modules by name, with their imports."""
    found: dict[str, Any] = structure.modules(structure.PRODUCT)
    structure.resolve_imports(found)
    return found


def test_no_module_is_imported_under_two_names() -> None:
    if importlib.util.find_spec("mxnet") is None:
        pytest.skip("mxnet is not installed")
    ours = tuple(f"{ROOT / folder}/" for folder in ("container", "handlers", "polyhost"))
    code = IMPORT_EVERYTHING.replace("OURS", repr(ours))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    names: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        name, path = line.split(" ", 1)
        names.setdefault(path, []).append(name)
    assert len(names) > 100
    assert {path: found for path, found in names.items() if len(found) > 1} == {}
    assert all(name.startswith("polyhost") for found in names.values() for name in found)


def test_the_two_folders_are_imported_by_their_full_names_only(structure: ModuleType) -> None:
    found = structure.modules({**structure.PRODUCT, **structure.OTHERS})
    wrong = [
        (module.name, name)
        for module in found.values()
        if not module.name.startswith("tests.models.")
        for name in structure._imported(module, runtime_only=False)
        if name.partition(".")[0] in ("container", "handlers", "cli", "emulator")
    ]
    assert wrong == []


def test_there_are_no_import_cycles(structure: ModuleType, product: dict[str, Any]) -> None:
    assert structure.cycles(product) == []


# What each package may not import at module level. Whoever installs the emulator has no MMS; the image has no emulator.
FORBIDDEN = {
    "polyhost.handlers": ("polyhost.container", "polyhost.cli", "polyhost.emulator"),
    "polyhost.container": ("polyhost.cli", "polyhost.emulator"),
    "polyhost.dashboard": ("polyhost.emulator", "polyhost.container", "polyhost.cli"),
    "polyhost.model_cache": ("polyhost.emulator", "polyhost.container", "polyhost.cli"),
    "polyhost.emulator": ("polyhost.container", "polyhost.handlers", "polyhost.cli"),
    "polyhost.emulator.hosting": ("polyhost.emulator.api", "polyhost.emulator.ui"),
    "polyhost.cli": ("polyhost.container", "polyhost.emulator"),
    "polyhost.planning": ("polyhost.container", "polyhost.handlers", "polyhost.emulator", "polyhost.cli"),
    "polyhost.drift": ("polyhost.container", "polyhost.handlers", "polyhost.emulator", "polyhost.cli"),
    "polyhost.bundles": ("polyhost.container", "polyhost.handlers", "polyhost.emulator", "polyhost.cli"),
}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_import_in_one_direction(product: dict[str, Any], package: str) -> None:
    wrong = [
        (module.name, name)
        for module in product.values()
        if f"{module.name}.".startswith(f"{package}.")
        for name in module.imports
        if f"{name}.".startswith(tuple(f"{forbidden}." for forbidden in FORBIDDEN[package]))
    ]
    assert wrong == []


# What asks `logging` for a logger: for the root logger, and for one that the toolkit has made.
ASK_LOGGING = {"polyhost.container.log_records", "polyhost.container.mms.toolkit"}


def test_a_containers_own_events_do_not_pass_through_logging(product: dict[str, Any]) -> None:
    """A model's settings would reach them; polyhost.events has loggers that are out of reach."""
    asking = {
        module.name
        for module in product.values()
        if module.name.startswith(("polyhost.container.", "polyhost.handlers."))
        and "getLogger(" in module.path.read_text()
    }
    assert asking == ASK_LOGGING
