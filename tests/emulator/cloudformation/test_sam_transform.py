"""Templates of AWS::Serverless, as clients of CloudFormation send them."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError

from polyhost.emulator.cloudformation.stack import Stack
from polyhost.emulator.cloudformation.stack_store import StackStore
from polyhost.emulator.cloudformation.template import Template
from polyhost.emulator.errors import ValidationError
from tests.emulator.cloudformation.harness import StackClient, resource
from tests.emulator.functions.harness import function_zip

SERVERLESS = "AWS::Serverless-2016-10-31"
EXPAND = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
_SOURCE = """
    def handler(event, context):
        return {"statusCode": 200, "body": "hello"}
"""


def _template(key: str, **properties: Any) -> str:
    """Return a template with a function behind an API with a key."""
    auth = {"ApiKeyRequired": True, "UsagePlan": {"CreateUsagePlan": "PER_API"}}
    post = {"Type": "Api", "Properties": {"Path": "/run", "Method": "post"}}
    function = resource(
        "AWS::Serverless::Function",
        CodeUri=f"s3://models/{key}",
        Handler="app.handler",
        Runtime={"Ref": "Runtime"},
        Events={"Run": post},
        **properties,
    )
    return json.dumps(
        {
            "Transform": SERVERLESS,
            "Globals": {"Api": {"Auth": auth}, "Function": {"Timeout": 60}},
            "Parameters": {"Runtime": {"Type": "String", "Default": "python3.11"}},
            "Resources": {"Function": function},
            "Outputs": {"Api": {"Value": {"Ref": "ServerlessRestApi"}}},
        }
    )


def test_a_function_behind_an_api_key(stacks: StackClient) -> None:
    pytest.importorskip("awslambdaric")
    key, client = f"{stacks.prefix}.zip", stacks.cloudformation
    stacks.local.s3.put_object(Bucket="models", Key=key, Body=function_zip(app=_SOURCE))
    text = _template(key)
    message = stacks.error("create_stack", StackName=stacks.prefix, TemplateBody=text)
    assert message == "Requires capabilities : [CAPABILITY_IAM, CAPABILITY_AUTO_EXPAND]"
    stack = client.create_stack(StackName=stacks.prefix, TemplateBody=text, Capabilities=EXPAND)["StackId"]
    stacks.made.append(stack)
    stacks.wait("create", stack)
    api, found = stacks.outputs(stack)["Api"], client.describe_stack_resources(StackName=stack)["StackResources"]
    types = {item["LogicalResourceId"]: item["ResourceType"] for item in found}
    assert set(types.values()) == {
        *("AWS::Lambda::Function", "AWS::Lambda::Permission", "AWS::IAM::Role"),
        *(f"AWS::ApiGateway::{name}" for name in ("RestApi", "Deployment", "Stage")),
        *(f"AWS::ApiGateway::{name}" for name in ("UsagePlan", "ApiKey", "UsagePlanKey")),
    }
    gateway = stacks.local.emulator.client("apigateway", "ap-northeast-2")
    ids = stacks.resources(stack)
    (name,) = [name for name, kind in types.items() if kind == "AWS::ApiGateway::ApiKey"]
    value = gateway.get_api_key(apiKey=ids[name], includeValue=True)["value"]
    url = f"{stacks.local.emulator.url}/restapis/{api}/Prod/_user_request_/run"
    for headers, status in (({}, 403), ({"x-api-key": value}, 200)):
        assert httpx.post(url, headers=headers, timeout=120.0, trust_env=False).status_code == status
    assert client.get_template(StackName=stack)["TemplateBody"] == json.loads(text)
    processed = client.get_template(StackName=stack, TemplateStage="Processed")["TemplateBody"]
    assert "Transform" not in processed and processed["Resources"]["Function"]["Type"] == "AWS::Lambda::Function"
    with pytest.raises(ClientError, match="No updates are to be performed"):
        client.update_stack(StackName=stack, UsePreviousTemplate=True, Capabilities=EXPAND)
    stacks.delete(stack)
    assert api not in [item["id"] for item in gateway.get_rest_apis()["items"]]


def test_a_function_behind_an_http_api(stacks: StackClient) -> None:
    pytest.importorskip("awslambdaric")
    key, client = f"{stacks.prefix}.zip", stacks.cloudformation
    source = "def handler(event, context):\n    return {'version': event['version'], **event['pathParameters']}\n"
    stacks.local.s3.put_object(Bucket="models", Key=key, Body=function_zip(app=source))
    cors = {"AllowOrigins": ["https://example.com"], "AllowMethods": ["GET"]}
    get = {"Type": "HttpApi", "Properties": {"Path": "/items/{id}", "Method": "get", "ApiId": {"Ref": "Api"}}}
    function = resource(
        "AWS::Serverless::Function",
        CodeUri=f"s3://models/{key}",
        Handler="app.handler",
        Runtime="python3.11",
        Timeout=60,
        Events={"Get": get},
    )
    template = {
        "Transform": SERVERLESS,
        "Resources": {
            "Function": function,
            "Api": resource("AWS::Serverless::HttpApi", StageName="v1", CorsConfiguration=cors),
        },
        "Outputs": {"Api": {"Value": {"Ref": "Api"}}},
    }
    stack = client.create_stack(StackName=stacks.prefix, TemplateBody=json.dumps(template), Capabilities=EXPAND)
    stacks.made.append(stack["StackId"])
    stacks.wait("create", stack["StackId"])
    api = stacks.outputs(stack["StackId"])["Api"]
    url = f"{stacks.local.emulator.url}/restapis/{api}/v1/_user_request_"
    with httpx.Client(timeout=120.0, trust_env=False) as http:
        found = http.get(f"{url}/items/7", headers={"origin": "https://example.com"})
        assert (found.status_code, found.json()) == (200, {"version": "2.0", "id": "7"})
        assert found.headers["access-control-allow-origin"] == "https://example.com"
        assert http.get(f"{url}/others/7").status_code == 404
    stacks.delete(stack["StackId"])
    gateway = stacks.local.emulator.client("apigatewayv2", "ap-northeast-2")
    assert api not in [item["ApiId"] for item in gateway.get_apis()["Items"]]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"Transform": "Mine"}, "No transform named Mine found"),
        ({"Transform": [SERVERLESS, "AWS::LanguageExtensions"]}, "No transform named AWS::LanguageExtensions found"),
        ({"Transform": None}, r"Invalid template property or properties \[Globals\]"),
        (
            {"Resources": {"F": resource("AWS::Serverless::Function", Runtime="python3.11")}},
            rf"Transform {SERVERLESS} failed with: Invalid Serverless Application Specification document. Number of"
            r" errors found: 1\. .*\[F\]",
        ),
        ({"Resources": {"F": resource("AWS::Serverless::Function", _DependsOn="F")}}, "failed with|Circular"),
    ],
)
def test_what_is_rejected(sections: dict[str, Any], message: str) -> None:
    content = json.loads(_template("a.zip")) | sections
    with pytest.raises(ValidationError, match=message):
        Template.parse(json.dumps({name: item for name, item in content.items() if item is not None}))


def test_a_change_set_needs_no_capability_for_the_transform(stacks: StackClient) -> None:
    client = stacks.cloudformation
    made = client.create_change_set(
        StackName=stacks.prefix,
        ChangeSetName="new",
        ChangeSetType="CREATE",
        TemplateBody=_template("none.zip"),
        Capabilities=["CAPABILITY_IAM"],
    )
    changes = client.describe_change_set(ChangeSetName=made["Id"])["Changes"]
    types = {item["ResourceChange"]["ResourceType"] for item in changes}
    assert {"AWS::Lambda::Function", "AWS::ApiGateway::UsagePlanKey"} <= types
    stacks.delete(made["StackId"])
    summary = client.get_template_summary(TemplateBody=_template("none.zip"))
    assert summary["DeclaredTransforms"] == [SERVERLESS]
    assert summary["Capabilities"] == ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]


def test_a_saved_stack_has_both_of_its_templates(tmp_path: Path) -> None:
    stack, store = Stack("eu-west-1", "saved"), StackStore(tmp_path)
    stack.template = Template.parse(_template("a.zip"), {"Runtime": "python3.12"}, "eu-west-1")
    store.save([stack])
    (loaded,) = store.load()
    assert loaded.template == stack.template and stack.template.text != stack.template.processed
