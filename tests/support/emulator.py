"""Clients of an emulator."""

from typing import Any

import boto3
from botocore.config import Config


def boto3_client(url: str, service: str, region: str = "us-east-1") -> Any:
    """Return a plain client of boto3 that does not retry."""
    return boto3.client(
        service,
        region_name=region,
        endpoint_url=url,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, max_pool_connections=32),
    )
