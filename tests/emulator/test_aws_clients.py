"""Clients of the emulated services and of an S3 elsewhere."""

from pathlib import Path

import pytest
from botocore.exceptions import NoCredentialsError

from polyhost.emulator import aws_clients
from tests.emulator.conftest import REGION, Local

NOBODY = "http://127.0.0.1:9"  # nothing listens on the port of the discard protocol


def test_another_s3_gets_the_users_own_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(NoCredentialsError):
        aws_clients.external_s3_client(REGION, NOBODY).list_buckets()
    (tmp_path / "mine").write_text("[default]\naws_access_key_id = MINE\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "mine"))
    assert "MINE" in aws_clients.external_s3_client(REGION, NOBODY).generate_presigned_url("list_buckets")


def test_the_emulated_services_are_reached_without_a_proxy(local: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, NOBODY)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert aws_clients.client("s3", REGION, local.emulator.url).list_buckets()["Buckets"]
