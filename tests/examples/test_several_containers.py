"""The examples of endpoints with several containers or variants, run against the emulator as their docstrings say."""

import re
from pathlib import Path

import pytest

from tests.examples.running import run_example

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def test_inference_pipeline(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    lines = run_example(tmp_path, "examples.inference_pipeline").splitlines()
    assert [re.sub(r" \(.*", "", line) for line in lines] == [
        "5.1,3.5,1.4,0.2 -> setosa",
        "6.0,2.7,4.5,1.5 -> versicolor",
        "6.5,3.0,5.8,2.2 -> virginica",
    ]


def test_multi_container_endpoint(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    recognised = dict(
        re.findall(r"(\w+): (\d+) of 100 digits", run_example(tmp_path, "examples.multi_container_endpoint"))
    )
    assert set(recognised) == {"sklearn", "torch"}
    assert all(int(count) >= 90 for count in recognised.values())


def test_shadow_variant(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    first, *variants, last = run_example(tmp_path, "examples.shadow_variant").splitlines()
    assert first == "answered by: production"
    counts = dict(re.findall(r"(\w+): (\d+) invocations, 0 errors, ", "\n".join(variants)))
    assert counts["production"] == "40"
    assert 0 < int(counts["shadow"]) < 40
    recognised = re.fullmatch(r"promoted: shadow recognises (\d+) of 100 digits", last)
    assert recognised is not None and int(recognised[1]) >= 90
