"""Where model data lies: every form of `ModelDataUrl` as one."""

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

_HOST = re.compile(r"^(?:(?P<bucket>.+)\.)?s3[.-](?:[a-z0-9-]+\.)?amazonaws\.com(?:\.cn)?$")


@dataclass(frozen=True)
class ModelData:
    """An object or a prefix: in a bucket, or below a folder of this machine where `bucket` is None."""

    bucket: str | None
    key: str

    @classmethod
    def parse(cls, url: str) -> "ModelData":
        """Takes s3://B/K, https://s3-REGION.amazonaws.com/B/K, https://s3.REGION…/B/K, https://B.s3.REGION…/K and file:///P.

        Raises ValueError, which names the URL and the accepted forms.
        """
        parts = urlsplit(url)
        path = unquote(parts.path)
        if parts.scheme == "file" and parts.netloc in ("", "localhost") and path.startswith("/"):
            return cls(None, path)
        if parts.scheme == "s3" and parts.netloc:
            return cls(parts.netloc, path.removeprefix("/"))
        host = _HOST.match(parts.netloc) if parts.scheme in ("http", "https") else None
        if host and host["bucket"]:
            return cls(host["bucket"], path.removeprefix("/"))
        if host:
            bucket, _, key = path.removeprefix("/").partition("/")
            if bucket:
                return cls(bucket, key)
        raise ValueError(
            f"{url!r} is no address of model data: use s3://BUCKET/KEY, https://s3-REGION.amazonaws.com/BUCKET/KEY or file:///PATH"
        )

    def join(self, target: str) -> "ModelData":
        """TargetModel is put behind the prefix as it is (developer guide, "Invoke a Multi-Model Endpoint")."""
        return ModelData(self.bucket, self.key + target.removeprefix("/"))

    def __str__(self) -> str:
        return f"file://{self.key}" if self.bucket is None else f"s3://{self.bucket}/{self.key}"
