"""What tests do with stacks, through boto3."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from tests.emulator.conftest import REGION, ROLE, Local

WAIT = {"Delay": 1, "MaxAttempts": 300}
CAPABILITIES = ["CAPABILITY_NAMED_IAM"]


@dataclass
class StackClient:
    """Stacks whose names begin with a prefix."""

    local: Local
    prefix: str
    cloudformation: Any = field(init=False)
    made: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cloudformation = self.local.emulator.client("cloudformation", REGION)

    def create(self, resources: dict[str, Any], suffix: str = "", ok: bool = True, **members: Any) -> str:
        """Create a stack, wait for its end, and return its ID. `members`: of the template, or of the request."""
        name = f"{self.prefix}{suffix}"
        response = self.cloudformation.create_stack(
            StackName=name,
            TemplateBody=body(resources, members),
            Capabilities=CAPABILITIES,
            **request_members(members),
        )
        self.made.append(response["StackId"])
        self.wait("create", response["StackId"], ok)
        return str(response["StackId"])

    def update(self, stack: str, resources: dict[str, Any], ok: bool = True, **members: Any) -> None:
        """Update a stack and wait for its end."""
        self.cloudformation.update_stack(
            StackName=stack,
            TemplateBody=body(resources, members),
            Capabilities=CAPABILITIES,
            **request_members(members),
        )
        self.wait("update", stack, ok)

    def delete(self, stack: str, ok: bool = True, **members: Any) -> None:
        self.cloudformation.delete_stack(StackName=stack, **members)
        self.wait("delete", stack, ok)

    def wait(self, verb: str, stack: str, ok: bool = True) -> None:
        waiter = self.cloudformation.get_waiter(f"stack_{verb}_complete")
        if ok:
            waiter.wait(StackName=stack, WaiterConfig=WAIT)
        else:
            with pytest.raises(WaiterError):
                waiter.wait(StackName=stack, WaiterConfig=WAIT)

    def describe(self, stack: str) -> dict[str, Any]:
        (found,) = self.cloudformation.describe_stacks(StackName=stack)["Stacks"]
        return dict(found)

    def outputs(self, stack: str) -> dict[str, str]:
        return {item["OutputKey"]: item["OutputValue"] for item in self.describe(stack).get("Outputs", [])}

    def events(self, stack: str) -> list[tuple[str, str]]:
        """Return what has become of what, the oldest first."""
        found = self.cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
        return [(item["LogicalResourceId"], item["ResourceStatus"]) for item in reversed(found)]

    def reasons(self, stack: str, status: str) -> dict[str, str]:
        """Return the reasons of the events of a status, by logical ID."""
        found = self.cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
        return {
            item["LogicalResourceId"]: item.get("ResourceStatusReason", "")
            for item in found
            if item["ResourceStatus"] == status
        }

    def resources(self, stack: str) -> dict[str, str]:
        """Return the physical IDs by logical ID."""
        found = self.cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
        return {item["LogicalResourceId"]: item.get("PhysicalResourceId", "") for item in found}

    def error(self, operation: str, **members: Any) -> str:
        """Return the message of an operation's error."""
        with pytest.raises(ClientError) as raised:
            getattr(self.cloudformation, operation)(**members)
        return str(raised.value.response["Error"]["Message"])

    def delete_all(self) -> None:
        for stack in reversed(self.made):
            if self.describe(stack)["StackStatus"] != "DELETE_COMPLETE":
                self.delete(stack)

    def endpoint(self, environment: dict[str, Any] | None = None, **properties: Any) -> dict[str, Any]:
        """Return the resources of an endpoint of small containers, of which each has the stack's name in its own."""
        container = {"Image": "small", "Mode": "MultiModel", "ModelDataUrl": f"s3://models/{self.prefix}/"}
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": {"Fn::GetAtt": ["Model", "ModelName"]},
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
        }
        return {
            "Endpoint": resource(
                "AWS::SageMaker::Endpoint",
                EndpointName={"Ref": "AWS::StackName"},
                EndpointConfigName={"Fn::GetAtt": "Config.EndpointConfigName"},
                **properties,
            ),
            "Config": resource("AWS::SageMaker::EndpointConfig", ProductionVariants=[variant]),
            "Model": resource(
                "AWS::SageMaker::Model",
                ExecutionRoleArn=ROLE,
                PrimaryContainer=container | {"Environment": environment or {}},
            ),
        }

    def left(self) -> list[str]:
        """Return the names of SageMaker's resources that begin with the prefix."""
        sagemaker = self.local.sagemaker
        found = [
            *(item["EndpointName"] for item in sagemaker.list_endpoints(NameContains=self.prefix)["Endpoints"]),
            *(
                item["EndpointConfigName"]
                for item in sagemaker.list_endpoint_configs(NameContains=self.prefix)["EndpointConfigs"]
            ),
            *(item["ModelName"] for item in sagemaker.list_models(NameContains=self.prefix)["Models"]),
        ]
        return [str(name) for name in found]


def resource(type_name: str, /, **properties: Any) -> dict[str, Any]:
    """Return a resource of a template; what is no property begins with an underscore."""
    others = {name[1:]: properties.pop(name) for name in list(properties) if name.startswith("_")}
    return {"Type": type_name, "Properties": properties, **others}


def body(resources: dict[str, Any], members: dict[str, Any]) -> str:
    sections = ("Parameters", "Conditions", "Mappings", "Outputs")
    return json.dumps({"Resources": resources} | {name: members[name] for name in sections if name in members})


def request_members(members: dict[str, Any]) -> dict[str, Any]:
    """Return what is for the request; `Values` are the parameters' values."""
    values = [{"ParameterKey": key, "ParameterValue": value} for key, value in members.get("Values", {}).items()]
    others = ("OnFailure", "DisableRollback", "Tags", "EnableTerminationProtection")
    given = {name: members[name] for name in others if name in members}
    return given | ({"Parameters": values} if values else {})
