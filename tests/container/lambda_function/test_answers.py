"""What a function returns of a model's response."""

import json

import pytest

from polyhost.container.errors import Failure
from polyhost.container.lambda_function import answers
from polyhost.container.lambda_function.answers import ModelInvocationError
from polyhost.container.lambda_function.settings import MAX_PAYLOAD_BYTES
from polyhost.container.native.decoder import WorkerResponse

FAILURE = Failure(422, "BadInputError", "no such column", "churn", "predict")


def response(status: int, content_type: bytes, body: bytes) -> WorkerResponse:
    return WorkerResponse(b"1", status, b"", [(b"Content-Type", content_type), (b"X-Own", b"1")], body)


def test_text_is_passed_as_text() -> None:
    returned = answers.of_response(response(201, b"application/json; charset=utf-8", b'"\xc3\xa9"'), "m", by_http=True)
    headers = {"content-type": "application/json; charset=utf-8", "x-own": "1"}
    assert returned == {"statusCode": 201, "headers": headers, "body": '"é"', "isBase64Encoded": False}


@pytest.mark.parametrize(("kind", "body"), [(b"image/png", b"abc"), (b"text/plain", b"\xff")])
def test_anything_else_is_passed_as_base64(kind: bytes, body: bytes) -> None:
    returned = answers.of_response(response(200, kind, body), "m", by_http=False)
    assert returned["IsBase64Encoded"]
    assert returned["ContentType"] == kind.decode()


def test_failures_have_the_callers_form() -> None:
    failed = response(422, b"application/json", FAILURE.to_json())
    with pytest.raises(ModelInvocationError, match=r"422 BadInputError: no such column \(model 'churn', predict\)"):
        answers.of_response(failed, "churn", by_http=False)
    with pytest.raises(ModelInvocationError, match="418: short and stout"):
        answers.of_response(response(418, b"text/plain", b"short and stout"), "churn", by_http=False)
    assert answers.of_response(failed, "churn", by_http=True)["statusCode"] == 422
    assert json.loads(answers.of_failure(FAILURE, by_http=True)["body"])["type"] == "BadInputError"


def test_a_response_above_lambdas_limit_is_named() -> None:
    large = response(200, b"text/plain", b"x" * (MAX_PAYLOAD_BYTES + 1))
    returned = answers.of_response(large, "m", by_http=True)
    assert (returned["statusCode"], json.loads(returned["body"])["type"]) == (500, "ResponseTooLargeError")
