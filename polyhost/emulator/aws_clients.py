"""boto3 clients of the emulator's own services, and of an S3 elsewhere."""

from functools import lru_cache
from typing import Any


def client(service: str, region: str, url: str) -> Any:
    """Return a client of an emulated service, with dummy credentials.

    It ignores HTTP_PROXY: a proxy does not reach this machine's loopback interface.
    """
    keys = {"aws_access_key_id": "polyhost", "aws_secret_access_key": "polyhost"}
    return _client(service, region, url, proxies={}, **keys)


def external_s3_client(region: str, url: str) -> Any:
    """Return a client of another S3, with the credentials and the proxy that boto3 finds in the environment."""
    return _client("s3", region, url, proxies=None)


class S3Clients:
    """Clients of the S3 where models and data are: the emulator's own at `own_url`, or the one at `endpoint`."""

    def __init__(self, own_url: str, endpoint: str | None) -> None:
        self.url = endpoint or own_url
        self._external = endpoint is not None
        self.of = lru_cache(None)(self._make)

    def _make(self, region: str) -> Any:
        """Return the client for a region. Call it in a thread: making a client takes a while."""
        return external_s3_client(region, self.url) if self._external else client("s3", region, self.url)


def _client(service: str, region: str, url: str, proxies: dict[str, str] | None, **keys: str) -> Any:
    import boto3
    from botocore.config import Config

    settings = Config(max_pool_connections=32, retries={"total_max_attempts": 3, "mode": "standard"}, proxies=proxies)
    # A session per client: threads must not share the default one (boto3, "Sessions").
    return boto3.Session().client(service, region_name=region, endpoint_url=url, config=settings, **keys)
