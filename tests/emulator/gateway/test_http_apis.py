"""HTTP APIs by real HTTP: routes, events of both versions, stages, CORS, limits, and what goes wrong."""

import json
from typing import Any

import pytest

from tests.emulator.conftest import REGION
from tests.emulator.gateway.harness import Gateway

TEXT = {"Content-Type": "text/plain"}
EVALUATING = "def handler(event, context):\n    return eval(event['body'])\n"


@pytest.fixture(scope="module")
def evaluating(gateway: Gateway) -> str:
    """Return the ARN of a function that returns what the body means in Python."""
    return str(gateway.functions.create("evaluates-bodies", EVALUATING)["FunctionArn"])


def document(title: str, arn: str, **members: Any) -> str:
    """Return an OpenAPI document as SAM writes it."""
    uri = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{arn}/invocations"
    integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": uri, "payloadFormatVersion": "2.0"}
    operation = {"x-amazon-apigateway-integration": integration, "responses": {}}
    default = {"x-amazon-apigateway-any-method": {**operation, "isDefaultRoute": True}}
    return json.dumps(
        {
            "openapi": "3.0.1",
            "info": {"title": title, "version": "1.0"},
            "paths": {"/models/{id}": {"post": operation}, "/$default": default},
            **members,
        }
    )


def test_a_function_gets_payload_2(gateway: Gateway, showing: str, name: str) -> None:
    api = gateway.http_api(name, showing, "PUT /models/{model}/{rest+}")
    response = gateway.call_http(
        api,
        "/models/iris/a/b?x=1&x=2",
        "PUT",
        content='{"a": 1}',
        headers={"X-Colour": "green", "Content-Type": "application/json", "Cookie": "a=1; b=2"},
    )
    event: dict[str, Any] = response.json()
    assert (event["version"], event["routeKey"]) == ("2.0", "PUT /models/{model}/{rest+}")
    assert (event["rawPath"], event["rawQueryString"]) == ("/models/iris/a/b", "x=1&x=2")
    assert event["pathParameters"] == {"model": "iris", "rest": "a/b"}
    assert event["queryStringParameters"] == {"x": "1,2"} and event["cookies"] == ["a=1", "b=2"]
    assert (event["headers"]["x-colour"], event["body"]) == ("green", '{"a": 1}')
    context = event["requestContext"]
    assert (context["apiId"], context["stage"]) == (api, "$default")
    assert (context["http"]["method"], context["http"]["path"]) == ("PUT", "/models/iris/a/b")
    assert "stageVariables" not in event and not event["isBase64Encoded"]


def test_a_function_gets_payload_1(gateway: Gateway, showing: str, name: str) -> None:
    api = gateway.http_api(name, showing, "POST /models/{id}", version="1.0")
    event = gateway.call_http(api, "/models/iris?x=1", "POST", content=b"\xff\x00").json()
    assert (event["version"], event["resource"], event["path"]) == ("1.0", "/models/{id}", "/models/iris")
    assert (event["httpMethod"], event["pathParameters"]) == ("POST", {"id": "iris"})
    assert event["multiValueQueryStringParameters"] == {"x": ["1"]}
    assert (event["body"], event["isBase64Encoded"]) == ("/wA=", True)
    assert event["requestContext"]["resourceId"] == "POST /models/{id}"


def test_the_most_specific_route_wins(gateway: Gateway, showing: str, name: str) -> None:
    keys = ("$default", "ANY /{proxy+}", "GET /pets/{id}", "GET /pets/dog", "ANY /pets/dog")
    api = gateway.http_api(name, showing, *keys)

    def route(method: str, path: str) -> str:
        return str(gateway.call_http(api, path, method).json()["routeKey"])

    assert route("GET", "/pets/dog") == "GET /pets/dog"
    assert route("POST", "/pets/dog") == "ANY /pets/dog"
    assert route("GET", "/pets/cat") == "GET /pets/{id}"
    assert route("POST", "/pets/cat") == route("GET", "/a/b") == "ANY /{proxy+}"
    assert route("GET", "/") == "$default"


def test_what_an_api_does_not_have_is_not_found(gateway: Gateway, showing: str, name: str) -> None:
    api = gateway.http_api(name, showing, "GET /run")
    for method, path in (("GET", "/other"), ("POST", "/run")):
        response = gateway.call_http(api, path, method)
        assert (response.status_code, response.json()) == (404, {"message": "Not Found"})
    url = f"{gateway.functions.emulator.url}/restapis/{api}/missing/_user_request_/run"
    assert gateway.http.get(url).status_code == 404
    gateway.http_apis.update_api(ApiId=api, DisableExecuteApiEndpoint=True)
    assert gateway.call_http(api, "/run").status_code == 404


def test_an_api_goes_by_its_host_name(gateway: Gateway, showing: str, name: str) -> None:
    api = gateway.http_api(name, showing, "GET /run")
    gateway.http_apis.create_stage(ApiId=api, StageName="test", AutoDeploy=True, StageVariables={"colour": "green"})
    headers = {"Host": f"{api}.execute-api.{REGION}.amazonaws.com"}

    def called(path: str) -> Any:
        return gateway.http.get(f"{gateway.functions.emulator.url}{path}", headers=headers).json()

    event = called("/run")
    assert (event["rawPath"], event["requestContext"]["stage"]) == ("/run", "$default")
    event = called("/test/run")
    assert (event["rawPath"], event["requestContext"]["stage"]) == ("/test/run", "test")
    assert event["stageVariables"] == {"colour": "green"}
    listed = gateway.http.get(f"{gateway.functions.emulator.url}/_polyhost/apis").json()["apis"]
    own = {item["stage"]: item["url"] for item in listed if item["id"] == api}
    assert gateway.http.get(f"{own['$default']}run").json()["rawPath"] == "/run"
    assert gateway.http.get(f"{own['test']}run").json()["rawPath"] == "/test/run"


def test_quick_create(gateway: Gateway, showing: str, name: str) -> None:
    api = gateway.http_apis.create_api(Name=name, ProtocolType="HTTP", Target=showing)["ApiId"]
    assert gateway.call_http(api, "/any/path").json()["routeKey"] == "$default"
    other = gateway.http_apis.create_api(Name=name, ProtocolType="HTTP", Target=showing, RouteKey="GET /run")["ApiId"]
    assert [gateway.call_http(other, path).status_code for path in ("/run", "/any")] == [200, 404]


def test_an_imported_api(gateway: Gateway, showing: str, name: str) -> None:
    cors = {"x-amazon-apigateway-cors": {"allowOrigins": ["*"]}}
    api = gateway.http_apis.import_api(Body=document(name, showing, **cors))
    assert (api["Name"], api["CorsConfiguration"]["AllowOrigins"]) == (name, ["*"])
    identifier = api["ApiId"]
    gateway.http_apis.create_stage(ApiId=identifier, StageName="$default", AutoDeploy=True)
    assert gateway.call_http(identifier, "/models/iris", "POST").json()["pathParameters"] == {"id": "iris"}
    assert gateway.call_http(identifier, "/other").json()["routeKey"] == "$default"
    paths = {"/only": {"get": json.loads(document(name, showing))["paths"]["/models/{id}"]["post"]}}
    gateway.http_apis.reimport_api(ApiId=identifier, Body=document(f"{name}-2", showing, paths=paths))
    assert [gateway.call_http(identifier, path).status_code for path in ("/only", "/other")] == [200, 404]


@pytest.mark.parametrize("body", ["{", "[1]", '{"swagger": "2.0"}', '{"openapi": "3.0.1"}'])
def test_a_bad_document_is_rejected_and_leaves_no_api(gateway: Gateway, body: str) -> None:
    before = gateway.http_apis.get_apis()["Items"]
    with pytest.raises(gateway.http_apis.exceptions.BadRequestException, match="Invalid OpenAPI input"):
        gateway.http_apis.import_api(Body=body)
    assert gateway.http_apis.get_apis()["Items"] == before


def test_a_stage_without_auto_deploy_waits_for_a_deployment(gateway: Gateway, showing: str, name: str) -> None:
    client: Any = gateway.http_apis
    api = gateway.http_api(name, showing, "GET /old")
    client.create_stage(ApiId=api, StageName="prod")

    def statuses() -> list[int]:
        base = f"{gateway.functions.emulator.url}/restapis/{api}/prod/_user_request_"
        return [gateway.http.get(f"{base}/{path}").status_code for path in ("old", "new")]

    assert statuses() == [404, 404]
    first = client.create_deployment(ApiId=api, StageName="prod", Description="first")
    assert (first["DeploymentStatus"], first["Description"]) == ("DEPLOYED", "first")
    (route,) = client.get_routes(ApiId=api)["Items"]
    client.update_route(ApiId=api, RouteId=route["RouteId"], RouteKey="GET /new")
    assert statuses() == [200, 404] and gateway.call_http(api, "/new").status_code == 200
    second = client.create_deployment(ApiId=api)["DeploymentId"]
    client.update_stage(ApiId=api, StageName="prod", DeploymentId=second)
    assert statuses() == [404, 200] and client.get_stage(ApiId=api, StageName="prod")["DeploymentId"] == second
    assert len(client.get_deployments(ApiId=api)["Items"]) == 2
    client.delete_deployment(ApiId=api, DeploymentId=first["DeploymentId"])
    with pytest.raises(client.exceptions.NotFoundException):
        client.get_deployment(ApiId=api, DeploymentId=first["DeploymentId"])
    with pytest.raises(client.exceptions.BadRequestException, match="Active stages"):
        client.delete_deployment(ApiId=api, DeploymentId=second)


def test_cors_is_answered_by_the_api(gateway: Gateway, evaluating: str, name: str) -> None:
    cors = {
        "AllowOrigins": ["https://example.com"],
        "AllowMethods": ["POST", "GET"],
        "AllowHeaders": ["x-colour"],
        "ExposeHeaders": ["x-one"],
        "MaxAge": 60,
        "AllowCredentials": True,
    }
    api = gateway.http_api(name, evaluating, "POST /run", CorsConfiguration=cors)
    preflight = {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"}
    response = gateway.call_http(api, "/run", "OPTIONS", headers=preflight)
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["access-control-allow-origin"] == "https://example.com"
    assert response.headers["access-control-allow-methods"] == "POST,GET"
    assert (response.headers["access-control-allow-headers"], response.headers["access-control-max-age"]) == (
        "x-colour",
        "60",
    )
    stranger = {**preflight, "Origin": "https://other.example"}
    assert "access-control-allow-origin" not in gateway.call_http(api, "/run", "OPTIONS", headers=stranger).headers
    # The function's own CORS headers are ignored.
    own = {"statusCode": 200, "headers": {"Access-Control-Allow-Origin": "https://own.example"}}
    response = gateway.call_http(api, "/run", "POST", content=repr(own), headers={**preflight, **TEXT})
    assert response.headers.get_list("access-control-allow-origin") == ["https://example.com"]
    assert response.headers["access-control-expose-headers"] == "x-one"


def test_responses_of_payload_2(gateway: Gateway, evaluating: str, name: str) -> None:
    api = gateway.http_api(name, evaluating, "POST /run")

    def returned(value: str) -> Any:
        return gateway.call_http(api, "/run", "POST", content=value, headers=TEXT)

    assert returned("{'sum': 3}").json() == {"sum": 3}
    response = returned(repr({"statusCode": 201, "headers": {"X-One": 1}, "cookies": ["a=1", "b=2"], "body": "made"}))
    assert (response.status_code, response.text, response.headers["x-one"]) == (201, "made", "1")
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert returned(repr({"statusCode": 200, "body": "/wA=", "isBase64Encoded": True})).content == b"\xff\x00"
    for bad in ("1 / 0", "{'statusCode': 'x'}"):
        response = returned(bad)
        assert (response.status_code, response.json()) == (500, {"message": "Internal Server Error"})


def test_responses_of_payload_1(gateway: Gateway, evaluating: str, name: str) -> None:
    api = gateway.http_api(name, evaluating, "POST /run", version="1.0")

    def returned(value: str) -> Any:
        return gateway.call_http(api, "/run", "POST", content=value, headers=TEXT)

    multiple = {"statusCode": 200, "multiValueHeaders": {"X-Two": ["a", "b"]}, "body": "made"}
    assert returned(repr(multiple)).headers.get_list("x-two") == ["a", "b"]
    assert returned(repr({"statusCode": 200, "body": "/wA=", "isBase64Encoded": True})).content == b"\xff\x00"
    assert returned("{'sum': 3}").status_code == 500


def test_limits(gateway: Gateway, showing: str, name: str) -> None:
    api = gateway.http_api(name, showing, "GET /slow", "GET /free")
    limits = {"ThrottlingRateLimit": 0.0001, "ThrottlingBurstLimit": 1}
    gateway.http_apis.update_stage(ApiId=api, StageName="$default", RouteSettings={"GET /slow": limits})
    assert gateway.call_http(api, "/slow").status_code == 200
    response = gateway.call_http(api, "/slow")
    assert (response.status_code, response.json()) == (429, {"message": "Too Many Requests"})
    assert gateway.call_http(api, "/free").status_code == 200
    response = gateway.call_http(api, "/free", content=b"x" * 6_300_000, headers=TEXT)
    assert (response.status_code, response.json()) == (413, {"message": "Request Entity Too Large"})


def test_a_function_that_takes_too_long_or_is_missing(gateway: Gateway, name: str) -> None:
    source = "import time\ndef handler(event, context):\n    time.sleep(600)\n"
    arn = gateway.functions.create(name, source, Timeout=10)["FunctionArn"]
    api = gateway.http_api(name, arn, "GET /run")
    (integration,) = gateway.http_apis.get_integrations(ApiId=api)["Items"]
    gateway.http_apis.update_integration(ApiId=api, IntegrationId=integration["IntegrationId"], TimeoutInMillis=100)
    response = gateway.call_http(api, "/run")
    assert (response.status_code, response.json()) == (503, {"message": "Service Unavailable"})
    missing = gateway.http_api(name, f"{arn}-missing", "GET /run")
    assert gateway.call_http(missing, "/run").status_code == 500


def test_what_serves_no_request_is_rejected(gateway: Gateway, showing: str, name: str) -> None:
    client: Any = gateway.http_apis
    api = gateway.http_api(name, showing, "GET /run")
    bad_request, conflict = client.exceptions.BadRequestException, client.exceptions.ConflictException
    with pytest.raises(bad_request, match="not formatted properly"):
        client.create_route(ApiId=api, RouteKey="FETCH /run")
    with pytest.raises(conflict, match="already exists"):
        client.create_route(ApiId=api, RouteKey="GET /run")
    with pytest.raises(bad_request, match="no such integration"):
        client.create_route(ApiId=api, RouteKey="GET /other", Target="integrations/missing")
    with pytest.raises(bad_request, match="PayloadFormatVersion"):
        client.create_integration(ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=showing)
    with pytest.raises(bad_request, match="integration type 'MOCK'"):
        client.create_integration(ApiId=api, IntegrationType="MOCK")
    with pytest.raises(conflict, match="Stage already exists"):
        client.create_stage(ApiId=api, StageName="$default")
    with pytest.raises(bad_request, match="stage name"):
        client.create_stage(ApiId=api, StageName="a b")
    with pytest.raises(bad_request, match="not formatted properly"):
        client.create_api(Name=f"{name}-2", ProtocolType="HTTP", Target=showing, RouteKey="run")
    assert f"{name}-2" not in [item["Name"] for item in client.get_apis()["Items"]]
