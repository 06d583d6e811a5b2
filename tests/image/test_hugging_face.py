"""An image with Hugging Face's transformers, which serves without any network."""

import importlib.util
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.engine import BUILD_SECONDS, REPOSITORY, answers_without_network, built, torch_arguments

pytestmark = [pytest.mark.image, pytest.mark.timeout(2 * BUILD_SECONDS)]
BODY = {"inputs": ["the film was good", "이 영화는 너무 지루하다"]}


@pytest.fixture(scope="module")
def image(engine: None) -> Iterator[str]:
    torch = torch_arguments()
    if not torch:
        pytest.skip("no wheel of PyTorch's CPU build is here; its CUDA build has gigabytes")
    tag = f"polyhost-huggingface:{uuid.uuid4().hex[:8]}"
    with built(tag, REPOSITORY, *torch, "--build-arg=FRAMEWORKS=huggingface") as name:
        yield name


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed, with which the model is made")
    from tests.support import huggingface

    folder = tmp_path_factory.mktemp("models")
    huggingface.save(folder / "reviews" / "model", "ElectraForSequenceClassification")
    (folder / "reviews" / "body.json").write_text(json.dumps(BODY))
    return folder


@pytest.mark.parametrize("front", ["mms", "native"])
def test_serves_without_a_network(image: str, models: Path, front: str) -> None:
    answers = answers_without_network(image, models, front)
    assert [one["label"][:6] for one in json.loads(answers["reviews"])] == ["LABEL_", "LABEL_"]
