"""The object store of boto3, with the emulator's S3."""

from pathlib import Path

import pytest

from polyhost.model_cache.errors import DownloadError, ModelDataMissingError
from polyhost.model_cache.s3 import S3Store
from tests.emulator.conftest import Local


def test_objects_are_found_and_downloaded(local: Local, tmp_path: Path) -> None:
    local.s3.put_object(Bucket="models", Key="store/a", Body=b"content")
    store, chunks = S3Store(local.s3), list[int]()
    etag, size = store.head("models", "store/a")
    assert (etag, size) == (local.s3.head_object(Bucket="models", Key="store/a")["ETag"], 7)
    store.download("models", "store/a", tmp_path / "a", chunks.append)
    assert (tmp_path / "a").read_bytes() == b"content"
    assert sum(chunks) == 7


@pytest.mark.parametrize(("bucket", "key"), [("models", "store/none"), ("no-such-bucket", "a")])
def test_an_object_that_does_not_exist(local: Local, tmp_path: Path, bucket: str, key: str) -> None:
    store = S3Store(local.s3)
    with pytest.raises(ModelDataMissingError, match=f"s3://{bucket}/{key}"):
        store.head(bucket, key)
    with pytest.raises(DownloadError, match="could not be downloaded"):
        store.download(bucket, key, tmp_path / "a", lambda _: None)


def test_a_download_can_be_aborted(local: Local, tmp_path: Path) -> None:
    def abort(_: int) -> None:
        raise DownloadError("aborted")

    local.s3.put_object(Bucket="models", Key="store/b", Body=b"content")
    with pytest.raises(DownloadError, match="aborted"):
        S3Store(local.s3).download("models", "store/b", tmp_path / "b", abort)
