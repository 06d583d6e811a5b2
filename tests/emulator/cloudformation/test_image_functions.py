"""Functions of container images in stacks, by SAM's transform and without."""

import json
from typing import Any

from tests.emulator.cloudformation.harness import StackClient, resource
from tests.emulator.conftest import REGION
from tests.emulator.functions.harness import ROLE, Lambda

URI = "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/classify"


def _image(stacks: StackClient, stack: str) -> tuple[str, dict[str, Any]]:
    """Return the image of the stack's function, and its settings."""
    functions = stacks.local.emulator.client("lambda", REGION)
    found = functions.get_function(FunctionName=stacks.resources(stack)["Function"])
    assert found["Configuration"]["PackageType"] == "Image"
    return found["Code"]["ImageUri"], found["Configuration"]["ImageConfigResponse"]["ImageConfig"]


def test_a_function_of_an_image_is_made_and_changed(stacks: StackClient) -> None:
    def function(uri: str, **members: Any) -> dict[str, Any]:
        return {
            "Function": resource(
                "AWS::Lambda::Function", PackageType="Image", Code={"ImageUri": uri}, Role=ROLE, **members
            )
        }

    Lambda(stacks.local.emulator)  # makes the role
    stack = stacks.create(function(f"{URI}:1", ImageConfig={"Command": ["app.other"]}, MemorySize=512))
    assert _image(stacks, stack) == (f"{URI}:1", {"EntryPoint": [], "Command": ["app.other"]})
    stacks.update(stack, function(f"{URI}:2", MemorySize=512))
    assert _image(stacks, stack) == (f"{URI}:2", {"EntryPoint": [], "Command": []})
    stacks.delete(stack)


def test_a_serverless_function_of_an_image(stacks: StackClient) -> None:
    config = {"EntryPoint": ["/bin/run"], "Command": ["app.other"], "WorkingDirectory": "/var/task"}
    function = resource("AWS::Serverless::Function", PackageType="Image", ImageUri=f"{URI}:1", ImageConfig=config)
    text = json.dumps({"Transform": "AWS::Serverless-2016-10-31", "Resources": {"Function": function}})
    capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
    created = stacks.cloudformation.create_stack(StackName=stacks.prefix, TemplateBody=text, Capabilities=capabilities)
    stacks.made.append(created["StackId"])
    stacks.wait("create", created["StackId"])
    assert _image(stacks, created["StackId"]) == (f"{URI}:1", config)
    stacks.delete(created["StackId"])
