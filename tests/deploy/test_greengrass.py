"""The Greengrass component's recipe, beside AWS's component recipe reference (developer guide of Greengrass v2).

AWS has no validator that works without a network and is on the package index. The fields are those of the reference;
tests/image/test_bundle.py runs the scripts.
"""

import re
from typing import Any

import pytest
import yaml

from tests.support.container import ROOT

RECIPE = ROOT / "deploy" / "greengrass" / "recipe.yaml"
TOP = {
    "RecipeFormatVersion",
    "ComponentName",
    "ComponentVersion",
    "ComponentDescription",
    "ComponentPublisher",
    "ComponentType",
    "ComponentConfiguration",
    "ComponentDependencies",
    "Manifests",
    "Lifecycle",
}
REQUIRED = {"RecipeFormatVersion", "ComponentName", "ComponentVersion"}
MANIFEST = {"Name", "Platform", "Lifecycle", "Selections", "Artifacts"}
STEPS = {"Setenv", "bootstrap", "install", "startup", "run", "shutdown", "recover"}
STEP = {"Script", "RequiresPrivilege", "Skipif", "Timeout", "Setenv"}
ARTIFACT = {"URI", "Unarchive", "Permission"}
VARIABLE = re.compile(r"\{([\w.]+):([^}]*)\}")


@pytest.fixture(scope="module")
def recipe() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(RECIPE.read_text())
    return found


def steps(recipe: dict[str, Any]) -> dict[str, Any]:
    (manifest,) = recipe["Manifests"]
    found: dict[str, Any] = manifest["Lifecycle"]
    return found


def test_the_component(recipe: dict[str, Any]) -> None:
    assert REQUIRED <= recipe.keys() <= TOP
    assert recipe["RecipeFormatVersion"] == "2020-01-25"
    assert re.fullmatch(r"[a-zA-Z0-9-_.]{1,128}", recipe["ComponentName"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", recipe["ComponentVersion"])
    assert recipe["ComponentType"] == "aws.greengrass.generic"
    assert recipe["ComponentConfiguration"].keys() == {"DefaultConfiguration"}


def test_the_manifest(recipe: dict[str, Any]) -> None:
    (manifest,) = recipe["Manifests"]
    assert manifest.keys() <= MANIFEST
    assert manifest["Platform"] == {"os": "linux"}
    (artifact,) = manifest["Artifacts"]
    assert artifact.keys() <= ARTIFACT
    assert re.fullmatch(r"s3://[^/]+/.+/bundle\.zip", artifact["URI"])
    assert artifact["Unarchive"] == "ZIP"
    assert artifact["Permission"] == {"Read": "OWNER", "Execute": "OWNER"}


def test_the_lifecycle(recipe: dict[str, Any]) -> None:
    found = steps(recipe)
    assert {"install", "run", "shutdown"} <= found.keys() <= STEPS
    # A component has startup or run, not both.
    assert not {"startup", "run"} <= found.keys()
    for step in found.values():
        assert {"Script"} <= step.keys() <= STEP
        assert isinstance(step["Script"], str)
        assert all(isinstance(value, str) for value in step.get("Setenv", {}).values())


def test_each_variable_has_a_value(recipe: dict[str, Any]) -> None:
    defaults = recipe["ComponentConfiguration"]["DefaultConfiguration"]
    used = VARIABLE.findall(yaml.safe_dump(steps(recipe)))
    assert {kind for kind, _ in used} == {"artifacts", "configuration"}
    assert {name for kind, name in used if kind == "artifacts"} == {"decompressedPath"}
    assert {name.removeprefix("/") for kind, name in used if kind == "configuration"} == defaults.keys()
    assert all(isinstance(value, str) for value in defaults.values())
