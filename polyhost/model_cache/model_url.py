"""Addresses of model data: every form of `ModelDataUrl` (CreateModel) as one type."""

import re
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

from polyhost.model_cache.errors import TargetOutsideError

_URL = re.compile(r"(?P<scheme>[a-z0-9]+)://(?P<place>[^/]*)/?(?P<path>.*)", re.DOTALL)
_HOST = re.compile(r"(?:(?P<bucket>.+)\.)?s3[.-](?:[a-z0-9-]+\.)?amazonaws\.com(?:\.cn)?")


@dataclass(frozen=True)
class ModelData:
    """An object or a prefix, in a bucket; or a path of this machine, if `bucket` is None.

    `scheme` is that of the bucket's address: S3's, or another object store's.
    """

    bucket: str | None
    key: str
    scheme: str = "s3"

    @classmethod
    def parse(cls, url: str) -> "ModelData":
        """Parse an address of S3 or of a folder.

        The forms are s3://B/K, https://s3-REGION.amazonaws.com/B/K, https://s3.REGION…/B/K, https://B.s3.REGION…/K and
        file:///P. Raises ValueError, which names the URL and the accepted forms.
        """
        if parts := _URL.fullmatch(url):
            scheme, place, path = parts.groups()
            if scheme == "s3" and place:
                return cls(place, path)  # literally: what S3 calls an S3 URI is not percent-encoded
            path = unquote(path)
            if scheme == "file" and place in ("", "localhost") and url != f"file://{place}":
                return cls(None, f"/{path}")
            host = _HOST.fullmatch(place) if scheme in ("http", "https") else None
            if host and host["bucket"]:
                return cls(host["bucket"], path)
            bucket, _, key = path.partition("/")
            if host and bucket:
                return cls(bucket, key)
        raise ValueError(
            f"{url!r} is no address of model data: use s3://BUCKET/KEY, https://s3-REGION.amazonaws.com/BUCKET/KEY or file:///PATH"
        )

    def join(self, target: str) -> "ModelData":
        """Append the name of a model to a prefix, unchanged (developer guide, "Invoke a Multi-Model Endpoint").

        Raises TargetOutsideError for a name that would lead out of a folder; S3 has no `..`.
        """
        if self.bucket is None and ".." in target.split("/"):
            raise TargetOutsideError(f"{self}{target}", f"TargetModel {target!r} leads out of {self}")
        return replace(self, key=self.key + target.removeprefix("/"))

    def __str__(self) -> str:
        return f"file://{quote(self.key)}" if self.bucket is None else f"{self.scheme}://{self.bucket}/{self.key}"
