"""Requests as botocore signs them: taken, and refused after any change, in AWS's words."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from polyhost.container.model_store.signatures import SignatureCheck
from polyhost.container.native.parser import HttpRequest
from polyhost.runtime_api.errors import AwsError

KEY, SECRET = "AKIAEXAMPLEEXAMPLE", "secret/of+forty/characters/with/slashes0"
BODY = b"1,2\n"


def signed(
    body: bytes = BODY,
    path: str = "/endpoints/any/invocations",
    service: str = "sagemaker",
    more: dict[str, str] | None = None,
) -> HttpRequest:
    """Return a request that botocore has signed now; `more` are headers."""
    headers = {"Content-Type": "text/csv", "X-Amzn-SageMaker-Target-Model": "team/a  b.tar.gz", **(more or {})}
    request = AWSRequest("POST", f"http://localhost:8080{path}", headers, body)
    SigV4Auth(Credentials(KEY, SECRET), service, "eu-west-1").add_auth(request)
    sent = {"Host": "localhost:8080", "User-Agent": "x", "X-Amzn-Trace-Id": "Root=1", **dict(request.headers.items())}
    path, _, query = path.partition("?")
    lines = [(name.encode(), value.encode()) for name, value in sent.items()]
    return HttpRequest(b"POST", path.encode(), query.encode(), lines, body, True, True)


def change(request: HttpRequest, name: str, value: str | None) -> HttpRequest:
    """Set a header to another value, or remove it."""
    kept = [header for header in request.headers if header[0].lower() != name.lower().encode()]
    request.headers = kept if value is None else [*kept, (name.encode(), value.encode())]
    return request


def header(request: HttpRequest, name: str) -> str:
    return dict(request.headers)[name.encode()].decode()


CHECK = SignatureCheck({"AKIAOTHEROTHEROTHER": "another" * 5, KEY: SECRET})
TAKEN: dict[str, Callable[[], HttpRequest]] = {
    "plain": signed,
    "without a body": lambda: signed(b""),
    "with a query": lambda: signed(path="/endpoints/any/invocations?b=2&a=1%20x&a"),
    "with a slash": lambda: signed(path="/endpoints/a%2Fb/invocations"),
    "with a session": lambda: signed(more={"X-Amz-Security-Token": "a"}),
}


@pytest.mark.parametrize("case", TAKEN)
def test_what_botocore_signs_is_taken(case: str) -> None:
    CHECK.check(TAKEN[case]())


def refused(request: HttpRequest, now: datetime | None = None) -> tuple[str, int, str]:
    with pytest.raises(AwsError) as error:
        CHECK.check(request, now)
    return error.value.code, error.value.status, str(error.value.message)


def with_body(body: bytes) -> HttpRequest:
    request = signed()
    request.body = body
    return request


def with_authorization(changed: Callable[[str], str]) -> HttpRequest:
    request = signed()
    return change(request, "Authorization", changed(header(request, "Authorization")))


WRONG = "InvalidSignatureException"
CASES: dict[str, tuple[Callable[[], HttpRequest], str, str]] = {
    "another body": (lambda: with_body(b"1,3\n"), WRONG, "does not match"),
    "another model": (lambda: change(signed(), "X-Amzn-SageMaker-Target-Model", "b"), WRONG, "does not match"),
    "another host": (lambda: change(signed(), "Host", "other"), WRONG, "does not match"),
    "a header more": (lambda: change(signed(), "X-Amzn-SageMaker-Accept", "a/b"), WRONG, "must be a 'SignedHeader'"),
    "a header fewer": (lambda: change(signed(), "Content-Type", None), WRONG, "'content-type' is signed and missing"),
    "another signature": (lambda: with_authorization(lambda value: value[:-1] + "!"), WRONG, "does not match"),
    "not ASCII": (lambda: with_authorization(lambda value: value + "\xe9"), WRONG, "does not match"),
    "another service": (lambda: signed(service="s3"), WRONG, "scoped to correct service: 'sagemaker'"),
    "another day": (lambda: change(signed(), "X-Amz-Date", "20200101T000000Z"), WRONG, "Date in Credential scope"),
    "unsigned payload": (lambda: signed(more={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}), WRONG, "UNSIGNED-PAYLOAD"),
    "unknown key": (
        lambda: with_authorization(lambda value: value.replace(KEY, "AKIAUNKNOWN")),
        "UnrecognizedClientException",
        "security token included in the request is invalid",
    ),
    "none": (
        lambda: change(signed(), "Authorization", None),
        "MissingAuthenticationTokenException",
        "Missing Authentication Token",
    ),
    "basic": (
        lambda: change(signed(), "Authorization", "Basic eDp4"),
        "MissingAuthenticationTokenException",
        "Missing Authentication Token",
    ),
    "no signature": (
        lambda: with_authorization(lambda value: value.partition(", Signature")[0]),
        "IncompleteSignatureException",
        "'Signature'",
    ),
    "no date": (lambda: change(signed(), "X-Amz-Date", None), "IncompleteSignatureException", "X-Amz-Date"),
    "half a credential": (
        lambda: with_authorization(lambda value: value.replace("/aws4_request", "")),
        "IncompleteSignatureException",
        "KEY/DATE/REGION",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_told_as_aws_does(case: str) -> None:
    make, code, text = CASES[case]
    found = refused(make())
    assert found[:2] == (code, 400 if code.startswith("Incomplete") else 403)
    assert text in found[2]


def test_a_signature_is_good_for_fifteen_minutes() -> None:
    request = signed()
    stamp = datetime.strptime(header(request, "X-Amz-Date"), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    limit, second = timedelta(minutes=15), timedelta(seconds=1)
    for moment in (stamp - limit, stamp + limit):
        CHECK.check(request, moment)
    assert refused(request, stamp + limit + second)[2].startswith("Signature expired")
    assert refused(request, stamp - limit - second)[2].startswith("Signature not yet current")
