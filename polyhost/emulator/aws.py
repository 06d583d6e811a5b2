"""All of AWS that is not hosting: moto's S3, STS, IAM, ECR, CloudWatch, Logs, SNS and more, in this process."""

from collections.abc import Mapping
from typing import Any

from polyhost.emulator.config import DEFAULT_REGION


def application() -> Any:
    """As an ASGI application."""
    from a2wsgi import WSGIMiddleware
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    dispatcher: Any = DomainDispatcherApplication(create_backend_app)
    return WSGIMiddleware(dispatcher, workers=16)


def client(service: str, region: str, own_url: str) -> Any:
    """A client of an emulated service. HTTP_PROXY is not for it: a proxy does not reach this machine's loopback."""
    keys = {"aws_access_key_id": "polyhost", "aws_secret_access_key": "polyhost"}
    return _client(service, region, own_url, proxies={}, **keys)


def foreign_s3(region: str, endpoint: str) -> Any:
    """A client of another S3, with the credentials that boto3 finds where it always looks."""
    return _client("s3", region, endpoint, proxies=None)


def _client(service: str, region: str, url: str, proxies: dict[str, str] | None, **keys: str) -> Any:
    import boto3
    from botocore.config import Config

    settings = Config(max_pool_connections=32, retries={"total_max_attempts": 3, "mode": "standard"}, proxies=proxies)
    # A session of its own: the default one may not be shared by threads (boto3, "Sessions").
    return boto3.Session().client(service, region_name=region, endpoint_url=url, config=settings, **keys)


def scope(headers: Mapping[bytes, bytes]) -> tuple[str, str]:
    """(region, service) of the credential scope that the request is signed for (Signature Version 4)."""
    authorization = headers.get(b"authorization", b"").decode("latin-1")
    _, found, rest = authorization.partition("Credential=")
    parts = rest.split(",")[0].split("/")
    return (parts[2], parts[3]) if found and len(parts) >= 5 else (DEFAULT_REGION, "")


def waits(headers: Mapping[bytes, bytes]) -> bool:
    """Whether one of botocore's waiters asks: its mark is among the features in the user agent (useragent.py)."""
    agent = headers.get(b"user-agent", b"").decode("latin-1")
    features = next((word[2:] for word in agent.split() if word.startswith("m/")), "")
    return "B" in features.split(",")
