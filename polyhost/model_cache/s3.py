"""Archives in S3, by way of boto3."""

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, FlexibleChecksumError

from polyhost.model_cache.errors import DownloadError, ModelDataMissingError
from polyhost.model_cache.interfaces import OpenObject

_MISSING = ("404", "NoSuchKey", "NoSuchBucket", "NotFound")
_CHUNK_BYTES = 1 << 20
_ATTEMPTS = 5  # to go on with a response that broke off, as boto3's own transfers have


class S3Store:
    """An `ObjectStore`; `client` is an S3 client of boto3."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def etag(self, bucket: str, key: str) -> str:
        """Return an object's ETag. Raises ModelDataMissingError or DownloadError."""
        return str(self._ask(self._client.head_object, bucket, key)["ETag"])

    def get(self, bucket: str, key: str) -> OpenObject:
        """Ask for an object. Raises ModelDataMissingError or DownloadError."""
        response = self._ask(self._client.get_object, bucket, key)
        return OpenObject(response["ETag"], response["ContentLength"], self._chunks(bucket, key, response))

    def _ask(self, operation: Any, bucket: str, key: str, **parameters: str) -> Any:
        try:
            return operation(Bucket=bucket, Key=key, **parameters)
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] in _MISSING:
                raise ModelDataMissingError(f"s3://{bucket}/{key}") from None
            raise DownloadError(f"s3://{bucket}/{key} could not be read: {error}") from error

    def _chunks(self, bucket: str, key: str, response: Any) -> Iterator[bytes]:
        etag, size, came = response["ETag"], response["ContentLength"], 0
        for left in reversed(range(_ATTEMPTS)):
            try:
                for chunk in response["Body"].iter_chunks(_CHUNK_BYTES):
                    came += len(chunk)
                    yield chunk
                return
            except BotoCoreError as error:
                if not left or came >= size or isinstance(error, FlexibleChecksumError):
                    raise DownloadError(f"s3://{bucket}/{key} could not be downloaded: {error}") from error
            response = self._ask(self._client.get_object, bucket, key, Range=f"bytes={came}-", IfMatch=etag)
