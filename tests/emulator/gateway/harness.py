"""REST APIs, made as SAM makes them, and HTTP calls of them."""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.emulator.conftest import REGION
from tests.emulator.functions.harness import Lambda

_INTEGRATION = "x-amazon-apigateway-integration"


def proxy(function_arn: str, with_key: bool = False, **members: Any) -> dict[str, Any]:
    """Return an operation of an OpenAPI document that has a function behind it."""
    uri = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{function_arn}/invocations"
    integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": uri, **members}
    return {"responses": {}, _INTEGRATION: integration, "security": [{"api_key": []}] if with_key else []}


def mock(origin: str) -> dict[str, Any]:
    """Return the operation OPTIONS that SAM writes for CORS."""
    parameters = {
        "method.response.header.Access-Control-Allow-Origin": f"'{origin}'",
        "method.response.header.Access-Control-Allow-Methods": "'OPTIONS,POST'",
    }
    response = {
        "statusCode": "200",
        "responseParameters": parameters,
        "responseTemplates": {"application/json": "{}\n"},
    }
    templates = {"application/json": '{\n  "statusCode" : 200\n}\n'}
    integration = {"type": "mock", "requestTemplates": templates, "responses": {"default": response}}
    return {"responses": {"200": {"description": "CORS"}}, _INTEGRATION: integration}


@dataclass
class Gateway:
    functions: Lambda
    http: httpx.Client
    client: Any = field(init=False)
    http_apis: Any = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.functions.emulator.client("apigateway", REGION)
        self.http_apis = self.functions.emulator.client("apigatewayv2", REGION)

    def api(self, title: str, paths: dict[str, Any], **members: Any) -> str:
        """Import an API, deploy it to the stage Prod, and return its id."""
        document = {
            "swagger": "2.0",
            "info": {"version": "1.0", "title": title},
            "paths": paths,
            "securityDefinitions": {"api_key": {"type": "apiKey", "name": "x-api-key", "in": "header"}},
            **members,
        }
        api: str = self.client.import_rest_api(body=json.dumps(document).encode())["id"]
        self.client.create_deployment(restApiId=api, stageName="Prod")
        return api

    def function_api(self, name: str, source: str, path: str = "/run", **members: Any) -> str:
        """Create a function, and an API whose only path leads to it with all methods."""
        arn = self.functions.create(name, source)["FunctionArn"]
        return self.api(name, {path: {"x-amazon-apigateway-any-method": proxy(arn)}}, **members)

    def key(self, api: str, name: str, **plan: Any) -> str:
        """Return the value of a new key that a new usage plan gives access to the API."""
        key = self.client.create_api_key(name=name, enabled=True)
        created = self.client.create_usage_plan(name=name, apiStages=[{"apiId": api, "stage": "Prod"}], **plan)
        self.client.create_usage_plan_key(usagePlanId=created["id"], keyId=key["id"], keyType="API_KEY")
        return str(key["value"])

    def url(self, api: str, path: str) -> str:
        return f"{self.functions.emulator.url}/restapis/{api}/Prod/_user_request_{path}"

    def call(self, api: str, path: str, method: str = "GET", **members: Any) -> httpx.Response:
        return self.http.request(method, self.url(api, path), **members)

    def http_api(self, name: str, function_arn: str, *keys: str, version: str = "2.0", **members: Any) -> str:
        """Create an HTTP API whose routes all lead to a function, with the stage $default, and return its id."""
        api: str = self.http_apis.create_api(Name=name, ProtocolType="HTTP", **members)["ApiId"]
        integration = self.http_apis.create_integration(
            ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=function_arn, PayloadFormatVersion=version
        )
        for key in keys:
            self.http_apis.create_route(ApiId=api, RouteKey=key, Target=f"integrations/{integration['IntegrationId']}")
        self.http_apis.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
        return api

    def call_http(self, api: str, path: str, method: str = "GET", **members: Any) -> httpx.Response:
        """Call the stage $default of an HTTP API."""
        url = f"{self.functions.emulator.url}/restapis/{api}/_user_request_{path}"
        return self.http.request(method, url, **members)
