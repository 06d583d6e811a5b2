"""Scripts beside the archives: SAGEMAKER_SUBMIT_DIRECTORY, as SageMaker's SDK sets it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from polyhost.handlers import lookup
from polyhost.handlers.errors import BadModelError, BadSettingError
from polyhost.handlers.script import submitted_code
from polyhost.handlers.settings import Settings
from tests.handlers.conftest import Archive
from tests.handlers.served import Served
from tests.support.s3 import packed, s3_server

SCRIPT = "from helper import NAME\ndef model_fn(model_dir):\n    return lambda rows: [NAME]\n"
SOURCES = {"train.py": SCRIPT, "helper.py": "NAME = 'submitted'\n"}
OWN = "def model_fn(model_dir):\n    return lambda rows: ['own']\n"


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """Run an S3, with the sources at s3://code/sourcedir.tar.gz."""
    with s3_server() as (client, variables), pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        client.create_bucket(Bucket="code")
        client.put_object(Bucket="code", Key="sourcedir.tar.gz", Body=packed(**SOURCES))
        yield client


@pytest.fixture
def submit(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set the variables; `submit(place, multi_model="true")`."""

    def set_variables(place: object, program: str = "train.py", multi_model: str = "") -> Settings:
        submitted_code._fetched.cache_clear()
        monkeypatch.setenv("SAGEMAKER_SUBMIT_DIRECTORY", str(place))
        monkeypatch.setenv("SAGEMAKER_PROGRAM", program)
        monkeypatch.setenv("SAGEMAKER_MULTI_MODEL", multi_model)
        return Settings.of_process()

    return set_variables


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    folder.mkdir()
    for name, content in SOURCES.items():
        (folder / name).write_text(content)
    return folder


def test_code_in_s3(archive: Archive, s3: Any, submit: Any) -> None:
    submit("s3://code/sourcedir.tar.gz")
    assert Served(archive(**{"weights.bin": "1"})).post("[[1]]").json == ["submitted"]
    del sys.modules["helper"]


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_code_in_a_folder(archive: Archive, sources: Path, submit: Any, prefix: str) -> None:
    submit(f"{prefix}{sources}")
    assert Served(archive(**{"weights.bin": "1"})).post("[[1]]").json == ["submitted"]


def test_code_in_an_archive_of_this_machine(archive: Archive, submit: Any, tmp_path: Path) -> None:
    (tmp_path / "sourcedir.tar.gz").write_bytes(packed(**SOURCES))
    submit(tmp_path / "sourcedir.tar.gz")
    assert Served(archive(**{"weights.bin": "1"})).post("[[1]]").json == ["submitted"]
    del sys.modules["helper"]


@pytest.mark.parametrize("script", ["code/train.py", "train.py", "code/inference.py"])
def test_code_that_was_packed_into_the_archive(archive: Archive, submit: Any, script: str) -> None:
    submit("/opt/ml/model/code")
    assert Served(archive(**{script: OWN})).post("[[1]]").json == ["own"]


def test_submitted_code_comes_first_for_a_lone_model(archive: Archive, sources: Path, submit: Any) -> None:
    submit(sources)
    assert Served(archive(**{"code/train.py": OWN, "inference.py": OWN})).post("[[1]]").json == ["submitted"]


@pytest.mark.parametrize(("script", "answer"), [("code/inference.py", "own"), ("code/train.py", "own"), ("a", None)])
def test_submitted_code_is_for_those_of_many_models_that_have_none(
    archive: Archive, sources: Path, submit: Any, script: str, answer: str | None
) -> None:
    submit(sources, multi_model="true")
    assert Served(archive(**{script: OWN})).post("[[1]]").json == [answer or "submitted"]


def test_a_lone_model_is_not_served_without_its_script(archive: Archive, moons_forest: Path, submit: Any) -> None:
    submit("/opt/ml/model/code")
    with pytest.raises(BadModelError, match=r"='/opt/ml/model/code': there is no train.py \(SAGEMAKER_PROGRAM\) there"):
        Served(archive(moons_forest))
    submit("/opt/ml/model/code", multi_model="true")
    assert Served(archive(moons_forest)).post("[[2, -1]]").json == [1]


def test_zygote_is_chosen_by_the_submitted_code(archive: Archive, sources: Path, submit: Any) -> None:
    (sources / "train.py").write_text("import torch\n")
    assert lookup.framework_of(archive(), None, submit(sources)) == "torch"


# What the container does at its start


def test_container_fetches_once(s3: Any, submit: Any, tmp_path: Path) -> None:
    variables = submitted_code.prepare(submit("s3://code/sourcedir.tar.gz"), "/opt/ml", tmp_path / "code")
    assert variables == {"SAGEMAKER_SUBMIT_DIRECTORY": str(tmp_path / "code")}
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["code", "helper.py", "train.py"]


@pytest.mark.parametrize("place", ["", "/opt/ml/model/code", "{base}/model/code", "{src}"])
def test_container_leaves_folders_as_they_are(submit: Any, sources: Path, tmp_path: Path, place: str) -> None:
    settings = submit(place.format(base=tmp_path, src=sources))
    assert submitted_code.prepare(settings, str(tmp_path), tmp_path / "code") == {}


@pytest.mark.parametrize(
    ("place", "program", "reason"),
    [
        ("s3://code/nothing.tar.gz", "train.py", "cannot be read: .*NoSuchKey.*let the endpoint's role read it"),
        ("s3://no-such-bucket/a.tar.gz", "train.py", "cannot be read: .*NoSuchBucket"),
        ("s3://code/damaged", "train.py", "not a complete gzip-compressed tar"),
        ("s3://code/sourcedir.tar.gz", "serve.py", r"has no serve.py \(SAGEMAKER_PROGRAM\), but helper.py, train.py"),
        ("/no/such/folder", "train.py", "it does not exist; name the folder of the script"),
        ("{src}", "serve.py", r"it has no serve.py \(SAGEMAKER_PROGRAM\)"),
    ],
)
def test_code_that_cannot_be_had(
    s3: Any, submit: Any, sources: Path, tmp_path: Path, place: str, program: str, reason: str
) -> None:
    s3.put_object(Bucket="code", Key="damaged", Body=b"no archive")
    settings = submit(place.format(src=sources), program)
    with pytest.raises(BadSettingError, match=reason) as raised:
        submitted_code.prepare(settings, "/opt/ml", tmp_path / "code")
    assert str(raised.value).startswith(f"SAGEMAKER_SUBMIT_DIRECTORY={settings.submit_directory!r}: ")


def test_archive_that_is_too_large(s3: Any, submit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitted_code, "_LIMIT_BYTES", 100)
    with pytest.raises(BadSettingError, match="more than 100; it must hold code only"):
        submitted_code.prepare(submit("s3://code/sourcedir.tar.gz"), "/opt/ml", tmp_path / "code")


def test_without_boto3(submit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(BadSettingError, match="install boto3, or put the code into the archive, below code/"):
        submitted_code.prepare(submit("s3://code/sourcedir.tar.gz"), "/opt/ml", tmp_path / "code")
