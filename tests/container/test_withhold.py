"""POLYHOST_WITHHOLD: which variables models do not get."""

import subprocess
import sys

import pytest

from polyhost.container import withhold
from polyhost.container.config import Config


@pytest.mark.parametrize(
    ("name", "withheld"),
    [
        ("DB_PASSWORD", True),
        ("MY_TOKEN", True),
        ("my_token", False),
        ("XMY_TOKEN", False),
        ("PATH", False),
        ("SAGEMAKER_PROGRAM", False),
        ("POLYHOST_WITHHOLD", False),
    ],
)
def test_names_and_patterns(name: str, withheld: bool) -> None:
    patterns = withhold.parse("DB_PASSWORD, MY_*  P*,S*")

    assert withhold.is_withheld(name, patterns) is withheld
    assert (name in withhold.without({name: "x"}, patterns)) is not withheld


@pytest.mark.parametrize("value", ["a-b", "A=1", "[A]", "1A", "A?"])
def test_no_name_is_rejected(value: str) -> None:
    with pytest.raises(ValueError, match="must be names of variables"):
        withhold.parse(value)


@pytest.mark.parametrize("value", ["PATH", "MY_A,SAGEMAKER_PROGRAM"])
def test_what_polyhost_needs_cannot_be_withheld(value: str) -> None:
    with pytest.raises(ValueError, match="polyhost needs it"):
        withhold.parse(value)


def test_strict_isolation_withholds_credentials() -> None:
    def withheld(**environ: str) -> bool:
        return withhold.is_withheld("AWS_SESSION_TOKEN", Config.from_environ(environ).withhold)

    assert not withheld()
    assert withheld(POLYHOST_ISOLATION="strict")
    assert withheld(POLYHOST_ISOLATION="strict", POLYHOST_WITHHOLD="X")
    assert withheld(POLYHOST_WITHHOLD="AWS_*")


FORGETS = """
import os, subprocess
from pathlib import Path
from polyhost.container import withhold
withhold.forget(["SECRET_*"])
assert "SECRET_A" not in os.environ
assert os.environ["OTHER"] == "öther"
print(Path("/proc/self/environ").read_bytes())
print(subprocess.run(["env"], capture_output=True, check=True).stdout)
"""


def test_forgotten_variables_are_not_shown_by_linux() -> None:
    environ = {"A": "first", "SECRET_A": "hunter2", "OTHER": "öther", "SECRET_B": "", "Z": "SECRET_A=last"}
    found = subprocess.run(
        [sys.executable, "-c", FORGETS], env=environ, capture_output=True, text=True, check=True
    ).stdout

    assert "hunter2" not in found
    assert "SECRET_B" not in found
    for kept in ("A=first", "OTHER=", "Z=SECRET_A=last"):
        assert found.count(kept) == 2, found
