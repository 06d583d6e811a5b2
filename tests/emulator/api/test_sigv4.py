"""The region and the service that a request is signed for."""

import pytest

from polyhost.emulator.api.sigv4 import credential_scope

SIGNED = "AWS4-HMAC-SHA256 Credential=KEY/20260101/eu-west-1/sagemaker/aws4_request, SignedHeaders=host, Signature=0"


@pytest.mark.parametrize(
    ("authorization", "scope"),
    [
        (SIGNED, ("eu-west-1", "sagemaker")),
        (SIGNED.replace("sagemaker", "s3"), ("eu-west-1", "s3")),
        ("AWS4-HMAC-SHA256 Credential=KEY/20260101, SignedHeaders=host", ("us-east-1", "")),
        ("Bearer token", ("us-east-1", "")),
    ],
)
def test_scope_of_a_request(authorization: str, scope: tuple[str, str]) -> None:
    assert credential_scope({b"authorization": authorization.encode()}) == scope


def test_unsigned_request_has_the_default_region() -> None:
    assert credential_scope({}) == ("us-east-1", "")
