"""The example of Hugging Face models in Korean."""

import importlib.util
import re
from pathlib import Path

import pytest

from tests.examples.running import run_example


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_korean_sentiment(tmp_path: Path) -> None:
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    lines = run_example(tmp_path, "examples.korean_sentiment").splitlines()
    answers = dict(line.rsplit(": ", 1) for line in lines[:4])
    assert answers["배우들의 연기가 훌륭했다"] == "긍정"
    assert answers["이야기가 너무 지루하다"] == "부정"
    found = [re.fullmatch(r"sentiment-(\d): (\d+) of 50 reviews that it has not seen", line) for line in lines[4:]]
    assert [int(match[1]) for match in found if match] == list(range(10))
    assert min(int(match[2]) for match in found if match) >= 35
