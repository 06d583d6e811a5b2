"""HTTP APIs in stacks, with a real function behind them."""

import json
from typing import Any

import httpx
import pytest

from tests.emulator.cloudformation.harness import StackClient, resource
from tests.emulator.conftest import REGION
from tests.emulator.functions.harness import Lambda

pytest.importorskip("awslambdaric")

SOURCE = "def handler(event, context):\n    return {'route': event['routeKey'], 'v': event.get('stageVariables')}\n"


def _call(stacks: StackClient, address: str) -> Any:
    return httpx.get(f"{stacks.local.emulator.url}/restapis/{address}", timeout=120, trust_env=False)


def test_an_api_of_parts(stacks: StackClient) -> None:
    functions = Lambda(stacks.local.emulator)
    arn = functions.create(stacks.prefix, SOURCE)["FunctionArn"]
    part = {"ApiId": {"Ref": "Api"}}

    def resources(key: str, colour: str) -> dict[str, Any]:
        variables = {"colour": colour}
        return {
            "Api": resource("AWS::ApiGatewayV2::Api", Name=stacks.prefix, ProtocolType="HTTP"),
            "Function": resource(
                "AWS::ApiGatewayV2::Integration",
                **part,
                IntegrationType="AWS_PROXY",
                IntegrationUri=arn,
                PayloadFormatVersion="2.0",
                TimeoutInMillis="30000",
            ),
            "Route": resource(
                "AWS::ApiGatewayV2::Route", **part, RouteKey=key, Target={"Fn::Sub": "integrations/${Function}"}
            ),
            "Stage": resource(
                "AWS::ApiGatewayV2::Stage", **part, StageName="prod", AutoDeploy="true", StageVariables=variables
            ),
        }

    output = {"Endpoint": {"Value": {"Fn::GetAtt": "Api.ApiEndpoint"}}}
    stack = stacks.create(resources("GET /one", "green"), Outputs=output)
    ids = stacks.resources(stack)
    api = ids["Api"]
    assert stacks.outputs(stack)["Endpoint"] == f"https://{api}.execute-api.{REGION}.amazonaws.com"
    assert _call(stacks, f"{api}/prod/_user_request_/one").json() == {"route": "GET /one", "v": {"colour": "green"}}
    stacks.update(stack, resources("GET /two", "red"), Outputs=output)
    assert stacks.resources(stack) == ids
    assert _call(stacks, f"{api}/prod/_user_request_/one").status_code == 404
    assert _call(stacks, f"{api}/prod/_user_request_/two").json() == {"route": "GET /two", "v": {"colour": "red"}}
    stacks.delete(stack)
    client = stacks.local.emulator.client("apigatewayv2", REGION)
    assert api not in [item["ApiId"] for item in client.get_apis()["Items"]]
    functions.client.delete_function(FunctionName=stacks.prefix)


def test_an_api_from_a_document_and_its_deployment(stacks: StackClient) -> None:
    functions = Lambda(stacks.local.emulator)
    arn = functions.create(stacks.prefix, SOURCE)["FunctionArn"]
    uri = {"Fn::Sub": f"arn:aws:apigateway:${{AWS::Region}}:lambda:path/2015-03-31/functions/{arn}/invocations"}

    def resources(path: str) -> dict[str, Any]:
        integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": uri, "payloadFormatVersion": "2.0"}
        document = {
            "openapi": "3.0.1",
            "info": {"title": stacks.prefix, "version": "1.0"},
            "paths": {path: {"get": {"x-amazon-apigateway-integration": integration, "responses": {}}}},
        }
        cors = {"AllowOrigins": ["*"]}
        part = {"ApiId": {"Ref": "Api"}}
        return {
            "Api": resource("AWS::ApiGatewayV2::Api", Body=document, CorsConfiguration=cors, Tags={"a": "b"}),
            "Default": resource("AWS::ApiGatewayV2::Stage", **part, StageName="$default", AutoDeploy=True),
            "Deployment": resource("AWS::ApiGatewayV2::Deployment", **part),
            "Fixed": resource(
                "AWS::ApiGatewayV2::Stage", **part, StageName="fixed", DeploymentId={"Ref": "Deployment"}
            ),
        }

    stack = stacks.create(resources("/one"))
    api = stacks.resources(stack)["Api"]
    described = stacks.local.emulator.client("apigatewayv2", REGION).get_api(ApiId=api)
    assert (described["Name"], described["Tags"]["a"]) == (stacks.prefix, "b")
    assert described["CorsConfiguration"]["AllowOrigins"] == ["*"]
    assert _call(stacks, f"{api}/_user_request_/one").json()["route"] == "GET /one"
    stacks.update(stack, resources("/two"))
    assert _call(stacks, f"{api}/_user_request_/two").json()["route"] == "GET /two"
    assert _call(stacks, f"{api}/fixed/_user_request_/one").json()["route"] == "GET /one"
    assert json.loads(_call(stacks, f"{api}/fixed/_user_request_/two").text) == {"message": "Not Found"}
    stacks.delete(stack)
    functions.client.delete_function(FunctionName=stacks.prefix)


def test_a_route_that_cannot_be_fails_the_stack(stacks: StackClient) -> None:
    resources = {
        "Api": resource("AWS::ApiGatewayV2::Api", Name=stacks.prefix, ProtocolType="HTTP"),
        "Route": resource("AWS::ApiGatewayV2::Route", ApiId={"Ref": "Api"}, RouteKey="FETCH /x"),
    }
    stack = stacks.create(resources, ok=False)
    assert "not formatted properly" in stacks.reasons(stack, "CREATE_FAILED")["Route"]
    client = stacks.local.emulator.client("apigatewayv2", REGION)
    assert stacks.prefix not in [item["Name"] for item in client.get_apis()["Items"]]
