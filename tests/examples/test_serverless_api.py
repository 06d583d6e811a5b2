"""The example of a model behind an HTTP API with keys."""

import re
from pathlib import Path

import pytest

from tests.examples.running import run_example


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_serverless_api(tmp_path: Path) -> None:
    for package in ("sklearn", "awslambdaric", "obstore"):
        pytest.importorskip(package)
    refused, first, second, right = run_example(tmp_path, "examples.serverless_api").splitlines()
    assert refused == "a call without a key: 403"
    assert re.fullmatch(r"the first call, a cold start: \d+\.\d\d s", first)
    assert re.fullmatch(r"the second call, of the same environment: \d+\.\d\d s", second)
    recognised = re.fullmatch(r"(\d+) of 100 digits recognised", right)
    assert recognised is not None and int(recognised[1]) >= 90
