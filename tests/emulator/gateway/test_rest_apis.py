"""REST APIs by real HTTP: events, responses, keys, CORS, binary bodies, and what goes wrong."""

import base64
from typing import Any

import pytest

from tests.emulator.conftest import REGION
from tests.emulator.gateway.conftest import EVENT
from tests.emulator.gateway.harness import Gateway, mock, proxy

EVALUATING = "def handler(event, context):\n    return eval(event['body'])\n"


@pytest.fixture(scope="module")
def evaluating(gateway: Gateway) -> str:
    """Return an API with a function that returns what the body means in Python."""
    return gateway.function_api("evaluates", EVALUATING)


def test_a_function_gets_the_request(gateway: Gateway, showing: str, name: str) -> None:
    api = gateway.api(name, {"/models/{model}/{rest+}": {"x-amazon-apigateway-any-method": proxy(showing)}})
    response = gateway.call(
        api, "/models/iris/a/b?x=1&x=2&y=%C3%A9", "PUT", content='{"a": 1}', headers={"X-Colour": "green"}
    )
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    event: dict[str, Any] = response.json()
    assert (event["resource"], event["path"]) == ("/models/{model}/{rest+}", "/models/iris/a/b")
    assert (event["httpMethod"], event["body"], event["isBase64Encoded"]) == ("PUT", '{"a": 1}', False)
    assert event["pathParameters"] == {"model": "iris", "rest": "a/b"}
    assert event["queryStringParameters"] == {"x": "2", "y": "é"}
    assert event["multiValueQueryStringParameters"] == {"x": ["1", "2"], "y": ["é"]}
    assert event["headers"]["X-Colour"] == "green" and event["multiValueHeaders"]["X-Colour"] == ["green"]
    context = event["requestContext"]
    assert (context["apiId"], context["stage"], context["path"]) == (api, "Prod", "/Prod/models/iris/a/b")
    assert context["identity"]["sourceIp"] == "127.0.0.1" and event["stageVariables"] is None
    empty = gateway.call(api, "/models/iris/a").json()
    assert empty["body"] is None and empty["queryStringParameters"] is None


def test_an_api_goes_by_its_host_name(gateway: Gateway, showing: str, name: str) -> None:
    api = gateway.api(name, {"/endpoints/x": {"post": proxy(showing)}})
    for domain in ("amazonaws.com", "localhost"):
        headers = {"Host": f"{api}.execute-api.{REGION}.{domain}"}
        response = gateway.http.post(f"{gateway.functions.emulator.url}/Prod/endpoints/x", headers=headers)
        assert response.json()["path"] == "/endpoints/x"


def test_the_emulator_lists_the_addresses(gateway: Gateway, showing: str, name: str) -> None:
    api = gateway.api(name, {"/run": {"get": proxy(showing)}})
    listed = gateway.http.get(f"{gateway.functions.emulator.url}/_polyhost/apis").json()["apis"]
    (entry,) = [item for item in listed if item["id"] == api]
    assert (entry["name"], entry["stage"], entry["region"]) == (name, "Prod", REGION)
    assert gateway.http.get(f"{entry['url']}run").status_code == 200


def test_keys_give_access(gateway: Gateway, showing: str, name: str) -> None:
    arn = showing
    api = gateway.api(name, {"/run": {"post": proxy(arn, with_key=True)}, "/open": {"get": proxy(arn)}})
    key = gateway.key(api, name)
    for headers in ({}, {"x-api-key": "wrong" * 5}):
        response = gateway.call(api, "/run", "POST", headers=headers)
        assert (response.status_code, response.json()) == (403, {"message": "Forbidden"})
    response = gateway.call(api, "/run", "POST", headers={"X-API-Key": key})
    assert response.json()["requestContext"]["identity"]["apiKey"] == key
    assert gateway.call(api, "/open").status_code == 200
    other = gateway.api(f"{name}-other", {"/run": {"post": proxy(arn, with_key=True)}})
    assert gateway.call(other, "/run", "POST", headers={"x-api-key": key}).status_code == 403


def test_plans_limit_how_often_a_key_is_used(gateway: Gateway, showing: str, name: str) -> None:
    arn = showing
    api = gateway.api(name, {"/run": {"get": proxy(arn, with_key=True)}})
    quota = gateway.key(api, f"{name}-quota", quota={"limit": 2, "period": "MONTH"})
    slow = gateway.key(api, f"{name}-slow", throttle={"rateLimit": 0.0001, "burstLimit": 1})
    statuses = [gateway.call(api, "/run", headers={"x-api-key": quota}) for _ in range(3)]
    assert [response.status_code for response in statuses] == [200, 200, 429]
    assert statuses[-1].json() == {"message": "Limit Exceeded"}
    assert gateway.call(api, "/run", headers={"x-api-key": slow}).status_code == 200
    throttled = gateway.call(api, "/run", headers={"x-api-key": slow})
    assert (throttled.status_code, throttled.json()) == (429, {"message": "Too Many Requests"})


def test_what_an_api_does_not_have_is_forbidden(gateway: Gateway, showing: str, name: str) -> None:
    api = gateway.api(name, {"/run": {"get": proxy(showing)}})
    response = gateway.call(api, "/other")
    assert (response.status_code, response.json()) == (403, {"message": "Missing Authentication Token"})
    assert gateway.call("0123456789", "/run").status_code == 403
    gateway.client.delete_rest_api(restApiId=api)
    assert gateway.call(api, "/run").json() == {"message": "Forbidden"}


@pytest.mark.parametrize(
    "returned",
    ["'text'", "[1]", "None", "{'statusCode': 'x'}", "{'statusCode': 200, 'body': {}}", "{'prediction': 1}", "1 / 0"],
)
def test_what_is_no_response_is_502(gateway: Gateway, evaluating: str, returned: str) -> None:
    response = gateway.call(evaluating, "/run", "POST", content=returned)
    assert (response.status_code, response.json()) == (502, {"message": "Internal server error"})


def test_a_function_that_takes_too_long_is_504(gateway: Gateway, name: str) -> None:
    source = "import time\ndef handler(event, context):\n    time.sleep(600)\n"
    arn = gateway.functions.create(name, source, Timeout=10)["FunctionArn"]
    api = gateway.api(name, {"/run": {"get": proxy(arn, timeoutInMillis=100)}})
    response = gateway.call(api, "/run")
    assert (response.status_code, response.json()) == (504, {"message": "Endpoint request timed out"})


def test_a_function_that_is_missing_is_500(gateway: Gateway, name: str) -> None:
    arn = f"arn:aws:lambda:{REGION}:123456789012:function:missing-{name}"
    api = gateway.api(name, {"/run": {"get": proxy(arn)}})
    assert gateway.call(api, "/run").status_code == 500


def test_headers_and_statuses_are_the_functions(gateway: Gateway, evaluating: str) -> None:
    returned = {
        "statusCode": 201,
        "headers": {"X-One": 1, "Content-Type": "text/plain", "Content-Length": "9999"},
        "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"]},
        "body": "made",
    }
    response = gateway.call(evaluating, "/run", "POST", content=repr(returned))
    assert (response.status_code, response.text, response.headers["x-one"]) == (201, "made", "1")
    assert response.headers["content-type"] == "text/plain"
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]


def test_binary_bodies_travel_as_base64(gateway: Gateway, name: str) -> None:
    source = """
        import base64

        def handler(event, context):
            assert event["isBase64Encoded"]
            body = base64.b64decode(event["body"])[::-1]
            headers = {"Content-Type": "application/x-npy"}
            return {"statusCode": 200, "headers": headers, "body": base64.b64encode(body).decode(),
                    "isBase64Encoded": True}
    """
    types: dict[str, Any] = {"x-amazon-apigateway-binary-media-types": ["application/x-npy"]}
    api = gateway.function_api(name, source, **types)
    headers = {"Content-Type": "application/x-npy", "Accept": "application/x-npy"}
    content = bytes(range(256))
    assert gateway.call(api, "/run", "POST", content=content, headers=headers).content == content[::-1]
    # Without such an Accept the client gets the text (developer guide, api-gateway-payload-encodings).
    text = gateway.call(api, "/run", "POST", content=content, headers={**headers, "Accept": "text/plain"})
    assert base64.b64decode(text.text) == content[::-1]


def test_cors_answers_a_web_page(gateway: Gateway, showing: str, name: str) -> None:
    arn = showing
    api = gateway.api(name, {"/run": {"post": proxy(arn), "options": mock("*")}})
    headers = {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"}
    response = gateway.call(api, "/run", "OPTIONS", headers=headers)
    assert (response.status_code, response.headers["access-control-allow-origin"]) == (200, "*")
    assert gateway.call(api, "/run", "POST", headers={"Origin": "https://example.com"}).status_code == 200


def test_an_api_made_step_by_step(gateway: Gateway, name: str) -> None:
    arn = gateway.functions.create(name, EVENT)["FunctionArn"]
    client = gateway.client
    api = client.create_rest_api(name=name, binaryMediaTypes=["image/png"])
    assert api["binaryMediaTypes"] == ["image/png"]
    root = client.get_resources(restApiId=api["id"])["items"][0]["id"]
    resource = client.create_resource(restApiId=api["id"], parentId=root, pathPart="run")["id"]
    place = {"restApiId": api["id"], "resourceId": resource, "httpMethod": "POST"}
    client.put_method(**place, authorizationType="NONE", apiKeyRequired=True)
    # The alias is a variable of the stage.
    uri = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{arn}:${{stageVariables.alias}}/invocations"
    client.put_integration(**place, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)
    gateway.functions.client.publish_version(FunctionName=name)
    gateway.functions.client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    client.create_deployment(restApiId=api["id"], stageName="Prod", variables={"alias": "live"})
    assert gateway.call(api["id"], "/run", "POST").status_code == 403
    key = gateway.key(api["id"], name)
    response = gateway.call(api["id"], "/run", "POST", headers={"x-api-key": key})
    assert response.json()["stageVariables"] == {"alias": "live"}


def test_a_bad_document_is_rejected_and_leaves_no_api(gateway: Gateway, name: str) -> None:
    client: Any = gateway.client
    for document in (f'{{"swagger": "2.0", "info": {{"title": "{name}"}}}}', '{"swagger": "2.0", "paths": {}}'):
        with pytest.raises(client.exceptions.BadRequestException, match="Invalid OpenAPI input"):
            client.import_rest_api(body=document.encode())
    assert name not in [item["name"] for item in client.get_rest_apis()["items"]]


def test_a_stage_stays_as_it_was_deployed(gateway: Gateway, showing: str, name: str) -> None:
    client: Any = gateway.client
    api = gateway.api(name, {"/old": {"get": proxy(showing)}})
    root = next(item["id"] for item in client.get_resources(restApiId=api)["items"] if item["path"] == "/")
    old = next(item["id"] for item in client.get_resources(restApiId=api)["items"] if item["path"] == "/old")
    first = client.get_stage(restApiId=api, stageName="Prod")["deploymentId"]
    client.update_stage(
        restApiId=api,
        stageName="Prod",
        patchOperations=[{"op": "replace", "path": "/variables/colour", "value": "green"}],
    )
    client.delete_resource(restApiId=api, resourceId=old)
    place = {"restApiId": api, "httpMethod": "GET"}
    place["resourceId"] = client.create_resource(restApiId=api, parentId=root, pathPart="new")["id"]
    client.put_method(**place, authorizationType="NONE")
    uri = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{showing}/invocations"
    client.put_integration(**place, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)
    assert [gateway.call(api, path).status_code for path in ("/old", "/new")] == [200, 403]
    second = client.create_deployment(restApiId=api, stageName="Prod")["id"]
    assert [gateway.call(api, path).status_code for path in ("/old", "/new")] == [403, 200]
    # The stage keeps what it had.
    assert gateway.call(api, "/new").json()["stageVariables"] == {"colour": "green"}
    client.update_stage(
        restApiId=api, stageName="Prod", patchOperations=[{"op": "replace", "path": "/deploymentId", "value": first}]
    )
    assert [gateway.call(api, path).status_code for path in ("/old", "/new")] == [200, 403]
    with pytest.raises(client.exceptions.BadRequestException):
        client.delete_deployment(restApiId=api, deploymentId=first)
    client.delete_deployment(restApiId=api, deploymentId=second)
    with pytest.raises(client.exceptions.BadRequestException, match="Deployment id does not exist"):
        client.create_stage(restApiId=api, stageName="other", deploymentId=second)


def test_a_body_that_no_function_can_take_is_413(gateway: Gateway, showing: str, name: str) -> None:
    api = gateway.api(name, {"/run": {"post": proxy(showing)}})
    response = gateway.call(api, "/run", "POST", content=b"x" * 6_300_000)
    assert (response.status_code, response.json()) == (413, {"message": "Request Too Long"})
