"""What tests do with the template: the AWS CLI deploys it, boto3 looks at what there is."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.emulator.conftest import REGION, Local
from tests.support.container import ROOT

TEMPLATE = ROOT / "deploy" / "cloudformation" / "multi-model-endpoint.yaml"
AWS = Path(sys.executable).with_name("aws")


@dataclass
class DeployedStack:
    """A stack of the template, whose endpoint has its name."""

    local: Local
    name: str
    environ: dict[str, str]

    def deploy(self, ok: bool = True, **parameters: object) -> str:
        """Deploy the stack, with the models below its name, and return what the CLI says."""
        given = {"ImageRepository": "models", "ImageTag": "v1", "ModelBucket": "models", "ModelPrefix": f"{self.name}/"}
        overrides = [f"{name}={value}" for name, value in (given | parameters).items()]
        words = (
            "deploy",
            "--stack-name",
            self.name,
            "--template-file",
            str(TEMPLATE),
            "--capabilities",
            "CAPABILITY_IAM",
        )
        return self.aws(*words, "--parameter-overrides", *overrides, ok=ok)

    def delete(self) -> None:
        self.aws("delete-stack", "--stack-name", self.name)
        self.aws("wait", "stack-delete-complete", "--stack-name", self.name)

    def aws(self, *words: str, ok: bool = True) -> str:
        """Run a command of `aws cloudformation`."""
        done = subprocess.run(
            [AWS, "cloudformation", *words], env=self.environ, capture_output=True, text=True, timeout=500
        )
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done.stdout + done.stderr

    def client(self, service: str) -> Any:
        return self.local.emulator.client(service, REGION)

    def describe(self) -> dict[str, Any]:
        (found,) = self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"]
        return dict(found)

    def reasons(self, status: str) -> dict[str, str]:
        """Return the reasons of the events of a status, by logical ID."""
        events = self.client("cloudformation").describe_stack_events(StackName=self.name)["StackEvents"]
        return {
            item["LogicalResourceId"]: item.get("ResourceStatusReason", "")
            for item in events
            if item["ResourceStatus"] == status
        }

    def endpoint(self) -> dict[str, Any]:
        return dict(self.local.sagemaker.describe_endpoint(EndpointName=self.name))

    def answers(self) -> list[str]:
        """Return the models' names as they answer."""
        return [json.loads(self.local.invoke(self.name, model)["Body"].read())["name"] for model in ("one", "two")]

    def left(self) -> dict[str, list[Any]]:
        """Return everything of the emulator's that has the stack's name, by service."""
        sagemaker, cloudwatch = self.local.sagemaker, self.client("cloudwatch")
        targets = self.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")
        found = {
            "endpoints": sagemaker.list_endpoints(NameContains=self.name)["Endpoints"],
            "configurations": sagemaker.list_endpoint_configs(NameContains=self.name)["EndpointConfigs"],
            "models": sagemaker.list_models(NameContains=self.name)["Models"],
            "alarms": cloudwatch.describe_alarms(AlarmNamePrefix=self.name)["MetricAlarms"],
            "dashboards": cloudwatch.list_dashboards(DashboardNamePrefix=self.name)["DashboardEntries"],
            "roles": [item for item in self.client("iam").list_roles()["Roles"] if self.name in item["RoleName"]],
            "topics": [item for item in self.client("sns").list_topics()["Topics"] if self.name in item["TopicArn"]],
            "targets": [item for item in targets["ScalableTargets"] if self.name in item["ResourceId"]],
        }
        return {kind: items for kind, items in found.items() if items}
