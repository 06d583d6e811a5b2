"""Function URLs by real HTTP."""

from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.emulator.gateway.harness import Gateway

SOURCE = """
    import json

    def handler(event, context):
        if event["rawPath"] == "/plain":
            return {"sum": 3}
        return {"statusCode": 201, "cookies": ["a=1", "b=2"], "body": json.dumps(event)}
"""


def call(gateway: Gateway, url: str, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    host = urlsplit(url).hostname or ""
    return gateway.http.request(method, f"{gateway.functions.emulator.url}{path}", headers={"Host": host, **headers})


def made(gateway: Gateway, name: str, **members: Any) -> str:
    gateway.functions.create(name, SOURCE)
    config = gateway.functions.client.create_function_url_config(FunctionName=name, **{"AuthType": "NONE", **members})
    return str(config["FunctionUrl"])


def test_a_function_has_a_url(gateway: Gateway, name: str) -> None:
    url = made(gateway, name)
    response = call(gateway, url, "/a/b?x=1&x=2", "POST", Cookie="c=3; d=4")
    event = response.json()
    assert response.status_code == 201 and response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert (event["version"], event["rawPath"], event["rawQueryString"]) == ("2.0", "/a/b", "x=1&x=2")
    assert (event["queryStringParameters"], event["cookies"]) == ({"x": "1,2"}, ["c=3", "d=4"])
    assert event["requestContext"]["http"]["method"] == "POST"
    plain = call(gateway, url, "/plain")
    assert (plain.status_code, plain.json()) == (200, {"sum": 3})
    gateway.functions.client.delete_function_url_config(FunctionName=name)
    assert call(gateway, url, "/plain").status_code == 403


def test_an_unsigned_request_is_forbidden_if_the_url_says_so(gateway: Gateway, name: str) -> None:
    url = made(gateway, name, AuthType="AWS_IAM")
    assert call(gateway, url, "/plain").json() == {"Message": "Forbidden"}
    assert call(gateway, url, "/plain", Authorization="AWS4-HMAC-SHA256 Credential=x").status_code == 200


def test_cors_of_a_url(gateway: Gateway, name: str) -> None:
    url = made(gateway, name, Cors={"AllowOrigins": ["https://example.com"], "AllowMethods": ["POST"]})
    preflight = {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"}
    response = call(gateway, url, "/plain", "OPTIONS", **preflight)
    assert response.status_code == 200 and response.headers["access-control-allow-methods"] == "POST"
    assert call(gateway, url, "/plain", Origin="https://example.com").headers["access-control-allow-origin"]
    assert "access-control-allow-origin" not in call(gateway, url, "/plain", Origin="https://other.example").headers
