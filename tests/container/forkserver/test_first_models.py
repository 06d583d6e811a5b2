"""Which models are there when a container starts, and whose zygotes start ahead of their loads."""

from pathlib import Path

import pytest

from polyhost.container.config import Config
from polyhost.container.forkserver.first_models import first_models, only_framework, those_that_fit
from polyhost.handlers import frameworks

_GB = 1 << 30


def config_in(folder: Path, **environ: str) -> Config:
    return Config.from_environ({"SAGEMAKER_BASE_DIR": str(folder), **environ})


def test_the_only_model_is_the_first(tmp_path: Path) -> None:
    assert first_models(config_in(tmp_path)) == [tmp_path / "model"]


def test_models_are_found_as_sagemaker_unpacks_them_and_as_they_are(tmp_path: Path) -> None:
    settings = {"SAGEMAKER_MULTI_MODEL": "true"}
    assert first_models(config_in(tmp_path, **settings)) == []
    (tmp_path / "models" / "a" / "model").mkdir(parents=True)
    (tmp_path / "models" / "b").mkdir()
    found = first_models(config_in(tmp_path, **settings))
    assert sorted(found) == [tmp_path / "models" / "a" / "model", tmp_path / "models" / "b"]


def test_a_store_loads_its_first_models_itself(tmp_path: Path) -> None:
    (tmp_path / "models" / "a").mkdir(parents=True)
    assert first_models(config_in(tmp_path, POLYHOST_MODEL_STORE=str(tmp_path / "models"))) == []


@pytest.mark.parametrize(
    ("memory", "expected"), [(8 * _GB, ["sklearn", "torch"]), (_GB // 4, ["sklearn"]), (1 << 20, ["bare"])]
)
def test_the_frameworks_of_most_models_come_first_as_far_as_there_is_memory(memory: int, expected: list[str]) -> None:
    names = ["torch", "sklearn", "sklearn"]
    if expected == ["bare"]:
        names.append("bare")
    assert those_that_fit(names, memory) == expected


@pytest.mark.parametrize(("installed", "expected"), [((), []), (("torch",), ["torch"]), (("mxnet", "sklearn"), [])])
def test_only_framework_of_an_image(
    installed: tuple[str, ...], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frameworks, "installed", installed.__contains__)
    assert only_framework() == expected


def test_each_framework_says_what_its_zygote_takes() -> None:
    assert all(row.zygote_bytes for row in frameworks.BUILT_IN)
