"""An image with XGBoost, LightGBM and onnxruntime, which serves without any network."""

import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.handlers.conftest import boosted, boosted_text, onnx_net  # noqa: F401  (fixtures)
from tests.image.engine import BUILD_SECONDS, REPOSITORY, answers_without_network, built, run

pytestmark = [pytest.mark.image, pytest.mark.timeout(2 * BUILD_SECONDS)]
FIXTURES = {"xgboost": "boosted", "lightgbm": "boosted_text", "onnx": "onnx_net"}


@pytest.fixture(scope="module")
def image(engine: None) -> Iterator[str]:
    tag = f"polyhost-boosting:{uuid.uuid4().hex[:8]}"
    with built(tag, REPOSITORY, f"--build-arg=FRAMEWORKS={' '.join(FIXTURES)}") as name:
        yield name


@pytest.fixture(scope="module")
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for framework, fixture in FIXTURES.items():
        shutil.copytree(request.getfixturevalue(fixture), folder / framework / "model")
        (folder / framework / "body.json").write_text("[[0, 1], [18, 19]]")
    return folder


def test_holds_no_other_framework(image: str) -> None:
    missing = "import importlib.util as u; print([n for n in ('torch', 'mxnet', 'transformers') if u.find_spec(n)])"
    assert run(image, "python", "-c", missing).stdout.strip() == "[]"


@pytest.mark.parametrize("front", ["mms", "native"])
def test_serves_without_a_network(image: str, models: Path, front: str) -> None:
    answers = answers_without_network(image, models, front)
    assert {name: len(json.loads(answer)) for name, answer in answers.items()} == dict.fromkeys(FIXTURES, 2)
