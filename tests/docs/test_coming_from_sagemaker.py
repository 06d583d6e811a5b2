"""What docs/coming-from-sagemaker.md has for users of an SDK."""

import re
from pathlib import Path

import pytest

from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.server import Emulator

TEXT = (Path(__file__).parents[2] / "docs" / "coming-from-sagemaker.md").read_text()


def test_the_front_end_is_chosen_in_create_model(monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = re.findall(r"```python\n(# create_model.py\n.*?)```", TEXT, re.DOTALL)
    with Emulator(EmulatorConfig(port=0)) as emulator:
        for name, value in {
            "AWS_ENDPOINT_URL": emulator.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }.items():
            monkeypatch.setenv(name, value)
        exec(compile(source, "create_model.py", "exec"), {})
        described = emulator.client("sagemaker", "us-east-1").describe_model(ModelName="polyhost")

    assert described["PrimaryContainer"]["Environment"]["POLYHOST_FRONTEND"] == "native"
