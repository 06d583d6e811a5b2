"""Stacks of functions and REST APIs, called over HTTP, and changed and deleted like any others."""

import json
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from tests.emulator.cloudformation.harness import StackClient, resource
from tests.emulator.conftest import REGION
from tests.emulator.functions.harness import function_zip
from tests.emulator.gateway.harness import proxy

pytest.importorskip("awslambdaric")

_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
_BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
_SOURCE = """
import os

def handler(event, context):
    return {"statusCode": 200, "body": os.environ.get("WORD", "none") + " %s"}
"""


def _client(stacks: StackClient, service: str) -> Any:
    return stacks.local.emulator.client(service, REGION)


def _function(source: str = "one", **properties: Any) -> dict[str, Any]:
    """Return a role and a function that has it."""
    settings = {"Runtime": "python3.11", "Handler": "index.handler", "Timeout": "60", **properties}
    return {
        "Role": resource("AWS::IAM::Role", AssumeRolePolicyDocument=_TRUST, ManagedPolicyArns=[_BASIC]),
        "Function": resource(
            "AWS::Lambda::Function",
            Code={"ZipFile": _SOURCE % source},
            Role={"Fn::GetAtt": "Role.Arn"},
            **settings,
        ),
    }


def _published(version: str, resources: dict[str, Any]) -> dict[str, Any]:
    """Return the resources with a version of the function, and an alias of it that may be called."""
    name = {"Ref": "Function"}
    return resources | {
        version: resource("AWS::Lambda::Version", FunctionName=name),
        "Live": resource(
            "AWS::Lambda::Alias", FunctionName=name, Name="live", FunctionVersion={"Fn::GetAtt": f"{version}.Version"}
        ),
        "Permission": resource(
            "AWS::Lambda::Permission",
            FunctionName={"Ref": "Live"},
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
        ),
        "Url": resource("AWS::Lambda::Url", TargetFunctionArn=name, AuthType="NONE"),
        "Retries": resource(
            "AWS::Lambda::EventInvokeConfig", FunctionName=name, Qualifier="$LATEST", MaximumRetryAttempts=1
        ),
    }


def test_functions_with_versions_and_aliases(stacks: StackClient) -> None:
    functions = _client(stacks, "lambda")

    def body(qualifier: str) -> str:
        response = functions.invoke(FunctionName=name, Qualifier=qualifier)
        return str(json.loads(response["Payload"].read())["body"])

    variables = {"Environment": {"Variables": {"WORD": "a"}}, "ReservedConcurrentExecutions": 5, "MemorySize": 256}
    tags = [{"Key": "team", "Value": "x"}]
    stack = stacks.create(
        _published("First", _function("one", Tags=tags, **variables)),
        Outputs={"Arn": {"Value": {"Fn::GetAtt": "Function.Arn"}}, "Url": {"Value": {"Fn::GetAtt": "Url.FunctionUrl"}}},
    )
    name, role = stacks.resources(stack)["Function"], stacks.resources(stack)["Role"]
    assert stacks.outputs(stack)["Arn"].endswith(f":function:{name}") and ".lambda-url." in stacks.outputs(stack)["Url"]
    assert (body("live"), body("$LATEST")) == ("a one", "a one")
    assert functions.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 5
    assert functions.list_tags(Resource=stacks.outputs(stack)["Arn"])["Tags"]["team"] == "x"
    (statement,) = json.loads(functions.get_policy(FunctionName=name)["Policy"])["Statement"]
    assert statement["Resource"].endswith(":live")

    stacks.update(stack, _published("Second", _function("two")))
    assert (body("live"), body("2"), body("$LATEST")) == ("none two",) * 3
    configuration = functions.get_function_configuration(FunctionName=name)
    assert (configuration["MemorySize"], configuration["Timeout"]) == (128, 60)
    assert functions.list_tags(Resource=configuration["FunctionArn"])["Tags"] == {}
    stacks.update(stack, _published("Third", _function("three")))
    # Numbers are not used again, although the first and the second version were deleted.
    versions = functions.list_versions_by_function(FunctionName=name)["Versions"]
    assert [item["Version"] for item in versions] == ["$LATEST", "3"]

    stacks.delete(stack)
    with pytest.raises(ClientError, match="Function not found"):
        functions.get_function(FunctionName=name)
    with pytest.raises(ClientError, match="NoSuchEntity"):
        _client(stacks, "iam").get_role(RoleName=role)


def test_a_version_without_a_change_fails(stacks: StackClient) -> None:
    name = {"Ref": "Function"}
    both = {
        "One": resource("AWS::Lambda::Version", FunctionName=name),
        "Two": resource("AWS::Lambda::Version", FunctionName=name, _DependsOn="One"),
    }
    stack = stacks.create(_function() | both, ok=False)
    assert stacks.reasons(stack, "CREATE_FAILED")["Two"] == (
        "A version for this Lambda function exists ( 1 ). Modify the function to create a new version."
    )
    assert stacks.describe(stack)["StackStatus"] == "ROLLBACK_COMPLETE"


def test_layers(stacks: StackClient) -> None:
    functions, s3 = _client(stacks, "lambda"), stacks.local.s3
    key = f"{stacks.prefix}.zip"
    s3.put_object(Bucket="models", Key=key, Body=function_zip(**{"python/layered": "TEXT = 'from the layer'\n"}))
    resources = _function(Layers=[{"Ref": "Layer"}])
    resources["Function"]["Properties"]["Code"] = {
        "ZipFile": "import layered\n\ndef handler(event, context):\n    return layered.TEXT\n"
    }
    content = {"S3Bucket": "models", "S3Key": key}
    layer = resource("AWS::Lambda::LayerVersion", Content=content, LayerName=stacks.prefix)
    stack = stacks.create(resources | {"Layer": layer})
    response = functions.invoke(FunctionName=stacks.resources(stack)["Function"])
    assert json.loads(response["Payload"].read()) == "from the layer"
    stacks.delete(stack)
    assert functions.list_layer_versions(LayerName=stacks.prefix)["LayerVersions"] == []


def _api(deployment: str, burst: int, path: str = "/run") -> dict[str, Any]:
    """Return an API with a key, the function behind it, and what SAM makes around them."""
    operation = proxy("${Function.Arn}", with_key=True)
    integration = operation["x-amazon-apigateway-integration"]
    integration["uri"] = {"Fn::Sub": integration["uri"]}
    document = {
        "swagger": "2.0",
        "info": {"version": "1.0", "title": {"Ref": "AWS::StackName"}},
        "paths": {path: {"post": operation}},
        "securityDefinitions": {"api_key": {"type": "apiKey", "name": "x-api-key", "in": "header"}},
    }
    api = {"Ref": "Api"}
    return _function() | {
        "Api": resource("AWS::ApiGateway::RestApi", Body=document, BinaryMediaTypes=["image/png"]),
        deployment: resource("AWS::ApiGateway::Deployment", RestApiId=api, StageName="Stage"),
        "Prod": resource(
            "AWS::ApiGateway::Stage",
            RestApiId=api,
            StageName="Prod",
            DeploymentId={"Ref": deployment},
            Variables={"burst": str(burst)},
            MethodSettings=[{"ResourcePath": "/*", "HttpMethod": "*", "MetricsEnabled": True}],
        ),
        "Plan": resource(
            "AWS::ApiGateway::UsagePlan",
            ApiStages=[{"ApiId": api, "Stage": {"Ref": "Prod"}}],
            Throttle={"BurstLimit": burst, "RateLimit": "0.5"},
        ),
        "Key": resource("AWS::ApiGateway::ApiKey", Enabled="true", StageKeys=[{"RestApiId": api, "StageName": "Prod"}]),
        "KeyOfPlan": resource(
            "AWS::ApiGateway::UsagePlanKey", KeyId={"Ref": "Key"}, KeyType="API_KEY", UsagePlanId={"Ref": "Plan"}
        ),
    }


def test_an_api_with_a_key(stacks: StackClient) -> None:
    gateway = _client(stacks, "apigateway")

    def call(path: str, **headers: str) -> int:
        url = f"{stacks.local.emulator.url}/restapis/{ids['Api']}/Prod/_user_request_{path}"
        return httpx.post(url, headers=headers, timeout=120.0, trust_env=False).status_code

    stack = stacks.create(_api("First", 50))
    ids = stacks.resources(stack)
    key = gateway.get_api_key(apiKey=ids["Key"], includeValue=True)["value"]
    assert (call("/run"), call("/run", **{"x-api-key": key})) == (403, 200)
    found = gateway.get_rest_api(restApiId=ids["Api"])
    assert (found["name"], found["binaryMediaTypes"]) == (stacks.prefix, ["image/png"])

    stacks.update(stack, _api("Second", 1, "/other"))
    changed = stacks.resources(stack)
    assert {name for name in ids if ids[name] != changed.get(name)} == {"First"}
    assert (call("/run", **{"x-api-key": key}), call("/other", **{"x-api-key": key})) == (403, 200)
    assert call("/other", **{"x-api-key": key}) == 429
    stage = gateway.get_stage(restApiId=ids["Api"], stageName="Prod")
    assert (stage["deploymentId"], stage["variables"]) == (changed["Second"], {"burst": "1"})
    (deployment,) = gateway.get_deployments(restApiId=ids["Api"])["items"]
    assert deployment["id"] == changed["Second"]
    assert gateway.get_usage_plan(usagePlanId=ids["Plan"])["throttle"] == {"burstLimit": 1, "rateLimit": 0.5}

    stacks.delete(stack)
    assert call("/other", **{"x-api-key": key}) == 403
    for listed, part in (("get_rest_apis", "Api"), ("get_api_keys", "Key"), ("get_usage_plans", "Plan")):
        assert ids[part] not in [item["id"] for item in getattr(gateway, listed)()["items"]]


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"Handler": "no handler"}, "Value 'no handler' at 'handler' failed to satisfy constraint"),
        ({"MemorySize": 20_000}, "Value '20000' at 'memorySize' failed to satisfy constraint"),
        ({"Speed": 1}, "Encountered unsupported property Speed"),
    ],
)
def test_a_function_that_cannot_be_made_leaves_nothing(
    stacks: StackClient, properties: dict[str, Any], message: str
) -> None:
    resources = _api("Deployment", 5)
    resources["Function"]["Properties"] |= properties
    stack = stacks.create(resources, ok=False)
    assert message in stacks.reasons(stack, "CREATE_FAILED")["Function"]
    assert stacks.describe(stack)["StackStatus"] == "ROLLBACK_COMPLETE" and stacks.resources(stack) == {}
    names = [item["RoleName"] for item in _client(stacks, "iam").list_roles(MaxItems=1000)["Roles"]]
    assert not [name for name in names if name.startswith(stacks.prefix)]


def test_a_stack_whose_api_cannot_be_imported_leaves_nothing(stacks: StackClient) -> None:
    resources = _api("Deployment", 5)
    resources["Api"]["Properties"]["Body"]["paths"] = {"run": {}}
    stack = stacks.create(resources, ok=False)
    assert "Invalid OpenAPI input" in stacks.reasons(stack, "CREATE_FAILED")["Api"]
    apis = _client(stacks, "apigateway").get_rest_apis()["items"]
    assert stacks.prefix not in [item["name"] for item in apis]
    names = [item["FunctionName"] for item in _client(stacks, "lambda").list_functions()["Functions"]]
    assert not [name for name in names if name.startswith(stacks.prefix)]
