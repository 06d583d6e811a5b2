"""Events of API Gateway and of callers of the function itself."""

from typing import Any

import pytest

from polyhost.container.lambda_function import events
from polyhost.container.lambda_function.events import BadEventError

V1: dict[str, Any] = {
    "httpMethod": "POST",
    "requestContext": {"stage": "Prod"},
    "headers": {"content-type": "text/csv", "X-Api-Key": "secret"},
    "multiValueHeaders": {"content-type": ["text/csv"], "Accept": ["a/b", "c/d"], "X-Api-Key": ["secret"]},
    "pathParameters": {"model": "team%2Fchurn.tar.gz"},
    "queryStringParameters": {"x": "2"},
    "multiValueQueryStringParameters": {"x": ["1", "2"]},
    "body": "1,2",
    "isBase64Encoded": False,
}
V2: dict[str, Any] = {
    "version": "2.0",
    "requestContext": {"http": {"method": "POST"}},
    "headers": {"x-amzn-sagemaker-target-model": "a", "accept": "a/b,c/d"},
    "body": "AP8=",
    "isBase64Encoded": True,
}


def test_payload_1() -> None:
    request = events.read(V1)
    assert request.target == "team/churn.tar.gz"
    assert request.headers == (("content-type", "text/csv"), ("Accept", "a/b, c/d"))
    assert request.parameters == (("x", "1"), ("x", "2"))
    assert (request.body, request.by_http) == (b"1,2", True)


def test_payload_1_with_nulls() -> None:
    nulls = dict.fromkeys(("multiValueHeaders", "queryStringParameters", "pathParameters", "body"))
    request = events.read({"requestContext": {}, "headers": None, **nulls})
    assert (request.target, request.headers, request.parameters, request.body) == (None, (), (), b"")


def test_payload_2() -> None:
    request = events.read(V2)
    assert (request.target, request.body) == ("a", b"\x00\xff")
    assert dict(request.headers)["accept"] == "a/b,c/d"


def test_a_caller_of_the_function() -> None:
    request = events.read({"TargetModel": "a", "Body": [1, "é"], "Accept": "text/csv"})
    assert (request.target, request.body, request.by_http) == ("a", b'[1, "\\u00e9"]', False)
    assert dict(request.headers) == {"content-type": "application/json", "accept": "text/csv"}
    assert events.read({"Body": "text"}).body == b"text"


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({**V2, "pathParameters": {"proxy": "b"}}, "the path names the model 'b', the header"),
        ({**V2, "body": ["x"]}, "body is of type list"),
        ({**V2, "body": "?"}, "body is not base64"),
        ({**V1, "pathParameters": "x"}, "pathParameters is of type str"),
        ([], "has no Body"),
    ],
)
def test_what_is_no_request(event: Any, reason: str) -> None:
    with pytest.raises(BadEventError, match=reason):
        events.read(event)
