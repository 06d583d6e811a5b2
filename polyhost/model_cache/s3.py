"""Archives in S3, by way of boto3."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError

from polyhost.model_cache.errors import DownloadError, ModelDataMissingError

_IN_THIS_THREAD = TransferConfig(use_threads=False)
_MISSING = ("404", "NoSuchKey", "NoSuchBucket", "NotFound")


class S3Store:
    """An `ObjectStore`; `client` is an S3 client of boto3."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def head(self, bucket: str, key: str) -> tuple[str, int]:
        url = f"s3://{bucket}/{key}"
        try:
            found = self._client.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                raise ModelDataMissingError(url) from None
            raise DownloadError(f"{url} could not be read: {error}") from error
        except BotoCoreError as error:
            raise DownloadError(f"{url} could not be read: {error}") from error
        return found["ETag"], found["ContentLength"]

    def download(self, bucket: str, key: str, path: Path, on_bytes: Callable[[int], None]) -> None:
        try:
            self._client.download_file(bucket, key, str(path), Callback=on_bytes, Config=_IN_THIS_THREAD)
        except (ClientError, BotoCoreError, Boto3Error) as error:
            raise DownloadError(f"s3://{bucket}/{key} could not be downloaded: {error}") from error
