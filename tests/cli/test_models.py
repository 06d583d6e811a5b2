"""`polyhost models`."""

import json
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from polyhost.cli.main import app
from polyhost.processes import RunningContainer
from tests.support.stub_server import StubRequest, StubResponse, stub_server

ECHO = """
def model_fn(model_dir): return None
def transform_fn(model, body, content_type, accept): return body, content_type
"""


def models(verb: str, *arguments: str | Path, body: bytes = b"") -> Result:
    return CliRunner().invoke(app, ["models", verb, *map(str, arguments)], input=body)


@pytest.fixture
def echo(served: RunningContainer) -> str:
    """Return the folder of a model that returns the request's body."""
    return unpacked(served, "echo", ECHO)


def unpacked(served: RunningContainer, name: str, script: str) -> str:
    """Write a model where SageMaker would unpack it, and return its folder."""
    folder = served.base_dir / "models" / name / "model"
    folder.mkdir(parents=True)
    (folder / "inference.py").write_text(script)
    return str(folder)


def test_load_list_describe_invoke_and_unload(served: RunningContainer, echo: str, tmp_path: Path) -> None:
    at = ("--url", served.url)
    assert models("list", *at).stderr == f"No models are loaded at {served.url}.\n"

    loaded = models("load", "echo", echo, *at)
    assert (loaded.exit_code, loaded.stdout[:26]) == (0, f"Loaded echo from {echo} in"[:26])
    assert models("list", *at).stdout.split() == ["NAME", "URL", "echo", echo]
    assert json.loads(models("list", "--json", *at).stdout) == [{"name": "echo", "url": echo}]
    assert json.loads(models("describe", "echo", *at).stdout)["modelUrl"] == echo

    invoked = models(
        "invoke", "echo", "--body", "-", "--content-type", "application/octet-stream", *at, body=b"\xff\x00"
    )
    assert (invoked.exit_code, invoked.stdout_bytes) == (0, b"\xff\x00")
    (tmp_path / "rows.csv").write_text("1,2\n")
    models("invoke", "echo", "--body", tmp_path / "rows.csv", "-o", tmp_path / "response", *at)
    assert (tmp_path / "response").read_text() == "1,2\n"

    assert models("unload", "echo", *at).stdout == "Unloaded echo.\n"
    assert json.loads(models("list", "--json", *at).stdout) == []


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["unload", "unknown"], 404),
        (["describe", "unknown"], 404),
        (["invoke", "unknown", "--body", "-"], 404),
    ],
)
def test_an_error_of_the_container_is_one_sentence(served: RunningContainer, arguments: list[str], status: int) -> None:
    result = models(*arguments, "--url", served.url)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"polyhost: {status} from ")
    assert "unknown" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_failed_load_says_where_to_look_and_leaves_nothing(served: RunningContainer) -> None:
    folder = unpacked(served, "broken", "def model_fn(model_dir): raise ValueError('bad weights')")
    result = models("load", "broken", folder, "--url", served.url)
    assert result.exit_code == 1
    assert result.stderr.startswith("polyhost: 500 from POST /models: ")
    assert f"its log says why, and so does polyhost check {folder}" in result.stderr
    assert "bad weights" in served.process.log.read_text()
    assert models("list", "--url", served.url).stdout == ""


def test_target_model_and_media_types_are_sent() -> None:
    seen: list[StubRequest] = []

    def respond(request: StubRequest) -> StubResponse:
        seen.append(request)
        return StubResponse(200, b"[1]")

    with stub_server(respond) as url:
        result = models(
            "invoke", "a", "--body", "-", "--target-model", "a.tar.gz", "--accept", "text/csv", "--url", url
        )
    assert result.stdout == "[1]"
    assert seen[0].headers["x-amzn-sagemaker-target-model"] == "a.tar.gz"
    assert seen[0].headers["accept"] == "text/csv"
    assert seen[0].headers["content-type"] == "application/json"


def test_load_makes_a_relative_folder_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[StubRequest] = []

    def respond(request: StubRequest) -> StubResponse:
        seen.append(request)
        return StubResponse(200)

    monkeypatch.chdir(tmp_path)
    with stub_server(respond) as url:
        printed = json.loads(models("load", "a", "churn", "--json", "--url", url).stdout)
    assert json.loads(seen[0].body) == {"model_name": "a", "url": f"{tmp_path}/churn"}
    assert (printed["name"], printed["url"]) == ("a", f"{tmp_path}/churn")


def test_no_container_at_the_address() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but not listening
        result = models("list", "--url", f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert result.exit_code == 1
    assert "start one with polyhost serve" in result.stderr


def test_a_response_that_cannot_be_written(tmp_path: Path) -> None:
    with stub_server(lambda _: StubResponse(200, b"[1]")) as url:
        result = models("invoke", "a", "--body", "-", "-o", tmp_path / "no" / "where", "--url", url)
    assert result.exit_code == 1
    assert "cannot write the response to" in result.stderr
