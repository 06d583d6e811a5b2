import pytest

from polyhost.handlers.errors import BadSettingError
from polyhost.handlers.settings import Settings


def test_defaults() -> None:
    assert Settings.from_environ({"SAGEMAKER_PROGRAM": ""}) == Settings("inference.py", "application/json")


def test_from_the_environment() -> None:
    environ = {"SAGEMAKER_PROGRAM": "serve.py", "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "text/csv"}
    assert Settings.from_environ(environ) == Settings("serve.py", "text/csv")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("TEXT/CSV", "text/csv"),
        ("text/csv; charset=utf-8", "text/csv"),
        ("application/x-jsonlines", "application/jsonlines"),
        ("text/html", "text/html"),
    ],
)
def test_default_accept_by_any_of_its_names(value: str, name: str) -> None:
    assert Settings.from_environ({"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": value}).default_accept == name


@pytest.mark.parametrize("value", ["/etc/serve.py", "../serve.py", "serve", "code/../../serve.py"])
def test_program_outside_the_archive(value: str) -> None:
    with pytest.raises(BadSettingError, match=f"SAGEMAKER_PROGRAM={value!r}: must name a Python file"):
        Settings.from_environ({"SAGEMAKER_PROGRAM": value})


@pytest.mark.parametrize("value", ["json", "text/", "text/csv, application/json"])
def test_default_accept_that_is_no_media_type(value: str) -> None:
    with pytest.raises(BadSettingError, match=f"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT={value!r}: must be a media type"):
        Settings.from_environ({"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": value})


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("", None),
        ("s3://bucket/job/source/sourcedir.tar.gz", "s3://bucket/job/source/sourcedir.tar.gz"),
        ("/opt/ml/model/code", "/opt/ml/model/code"),
        ("file:///src", "/src"),
    ],
)
def test_submit_directory(value: str, place: str | None) -> None:
    assert Settings.from_environ({"SAGEMAKER_SUBMIT_DIRECTORY": value}).submit_directory == place


@pytest.mark.parametrize("value", ["code", "s3://bucket", "s3://bucket/", "https://bucket/key", "file://code"])
def test_submit_directory_that_is_no_place(value: str) -> None:
    with pytest.raises(BadSettingError, match=f"SAGEMAKER_SUBMIT_DIRECTORY={value!r}: must be s3://BUCKET/KEY.tar.gz"):
        Settings.from_environ({"SAGEMAKER_SUBMIT_DIRECTORY": value})
