"""The example of serverless inference."""

import re
from pathlib import Path

import pytest

from tests.examples.running import run_example


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_serverless_endpoint(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    first, second, burst, cold, provisioned, right = run_example(tmp_path, "examples.serverless_endpoint").splitlines()
    for line, words in (
        (first, "the first call, a cold start"),
        (second, "the second call, of a warm container"),
        (provisioned, "the first call with provisioned concurrency"),
    ):
        assert re.fullmatch(rf"{words}: \d+\.\d\d s", line)
    start, _, outcomes = burst.partition(": ")
    assert start == "6 calls at once, of which 2 may run"
    found = re.findall(r"(\d) (answered|ThrottlingException)", outcomes)
    assert sum(int(count) for count, _ in found) == 6
    assert re.fullmatch(r"cold starts: [12], of \d+\.\d\d s on average", cold)
    recognised = re.fullmatch(r"(\d+) of 100 digits recognised", right)
    assert recognised is not None and int(recognised[1]) >= 90
