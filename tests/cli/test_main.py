"""The command `polyhost` as a whole."""

from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from polyhost.cli.main import app

COMMANDS = [
    [],
    ["serve"],
    ["pack"],
    ["check"],
    ["models"],
    *(["models", verb] for verb in ("list", "describe", "load", "invoke", "unload")),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: " ".join(words) or "polyhost")
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert f"Example: {' '.join(['polyhost', *command])}" in " ".join(result.output.split())


def test_version_option_prints_the_packages_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"polyhost {version('polyhost')}\n")


@pytest.mark.parametrize(
    "arguments",
    [["unknown"], ["pack"], ["pack", "/nowhere"], ["serve", "--port", "0"], ["serve", "--log-format", "xml"]],
)
def test_wrong_usage_has_exit_status_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr
    assert result.stdout == ""
