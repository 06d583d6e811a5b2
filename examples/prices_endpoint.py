"""What the examples of deployments share: an endpoint that prices flats, its versions, and clients that call it."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from examples.account import CAPACITY, Account, Resources

VARIANT = "AllTraffic"
CALLERS = 2
BETWEEN_CALLS_S = 0.02
BETWEEN_LOOKS_S = 0.2
_SETTLED = ("InService", "Failed", "UpdateRollbackFailed")
# A model may be a script alone. Its answer tells the version; one that is broken fails with every call.
_SCRIPT = """
def model_fn(model_dir):
    return {version!r}

def predict_fn(areas, version):
    rate = {rates}[version]
    return {{"version": version, "prices": [[rate * float(area) for area in row] for row in areas]}}
"""
_RATES = {"1": 3000, "2": 3200}


class Traffic:
    """What became of calls: answers by version, and errors by code."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()

    def describe(self) -> str:
        """Return the numbers in words."""
        answers = [f"{number} by version {version}" for version, number in sorted(self.answers.items())]
        errors = [f"{number} {code}" for code, number in sorted(self.errors.items())]
        return ", ".join([*answers, *(errors or ["no errors"])])


class PricesEndpoint:
    """An endpoint with a configuration for each version of its model. All of them have names that begin with NAME."""

    def __init__(self, account: Account, name: str) -> None:
        self.name = name
        self._account = account

    def create(self, resources: Resources, folder: Path, *versions: str) -> None:
        """Create models and configurations of all versions, and the endpoint of the first one, in service."""
        for version in versions:
            contents = folder / version
            contents.mkdir()
            (contents / "inference.py").write_text(_SCRIPT.format(version=version, rates=_RATES))
            container = {
                "Image": self._account.image,
                "ModelDataUrl": self._account.upload_archive(contents, f"{self.name}/{version}"),
                "Environment": {"POLYHOST_FRONTEND": "native", "POLYHOST_ZYGOTES": "bare"},
            }
            resources.create_model(self.config(version), PrimaryContainer=container)
            variant = {"VariantName": VARIANT, "ModelName": self.config(version)} | CAPACITY
            resources.create_endpoint_config(self.config(version), ProductionVariants=[variant])
        resources.create_endpoint(self.name, self.config(versions[0]))

    def config(self, version: str) -> str:
        """Return the name of a version's endpoint configuration."""
        return f"{self.name}-{version}"

    def deploy(self, version: str, **deployment_config: Any) -> None:
        """Begin to update the endpoint to a version."""
        self._account.sagemaker.update_endpoint(
            EndpointName=self.name, EndpointConfigName=self.config(version), DeploymentConfig=deployment_config
        )

    def follow(self) -> dict[str, Any]:
        """Print each stage of the deployment, and return the endpoint's description when it is over."""
        shown = ""
        while True:
            described: dict[str, Any] = self._account.sagemaker.describe_endpoint(EndpointName=self.name)
            if described["EndpointStatus"] in _SETTLED:
                return described
            if (stage := _stage(described)) != shown:
                print(stage)
                shown = stage
            time.sleep(BETWEEN_LOOKS_S)

    def call(self) -> str:
        """Return the version that answers."""
        response = self._account.runtime.invoke_endpoint(
            EndpointName=self.name, ContentType="application/json", Accept="application/json", Body=b"[[52.5]]"
        )
        return str(json.loads(response["Body"].read())["version"])

    @contextmanager
    def traffic(self) -> Iterator[Traffic]:
        """Have clients call the endpoint while the block runs."""
        traffic, ended = Traffic(), threading.Event()

        def call_on() -> None:
            while not ended.wait(BETWEEN_CALLS_S):
                try:
                    traffic.answers[self.call()] += 1
                except ClientError as error:
                    traffic.errors[error.response["Error"]["Code"]] += 1

        callers = [threading.Thread(target=call_on) for _ in range(CALLERS)]
        for caller in callers:
            caller.start()
        try:
            yield traffic
        finally:
            ended.set()
            for caller in callers:
                caller.join()

    @contextmanager
    def error_alarm(self, version: str) -> Iterator[str]:
        """Put an alarm that trips when more than 5 % of a version's calls fail; delete it in the end."""
        name = f"{self.config(version)}-errors"
        cloudwatch = boto3.client("cloudwatch")
        dimensions = {"EndpointName": self.name, "VariantName": VARIANT, "EndpointConfigName": self.config(version)}
        cloudwatch.put_metric_alarm(
            AlarmName=name,
            Namespace="AWS/SageMaker",
            MetricName="Invocation5XXErrors",
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            Statistic="Average",
            Period=60,
            EvaluationPeriods=1,
            Threshold=0.05,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="notBreaching",
        )
        try:
            yield name
        finally:
            cloudwatch.delete_alarms(AlarmNames=[name])


def _stage(described: dict[str, Any]) -> str:
    (pending,) = described.get("PendingDeploymentSummary", {}).get("ProductionVariants") or [{}]
    status = pending.get("VariantStatus", [{}])[0]
    message = f", {status['StatusMessage']}" if "StatusMessage" in status else ""
    return f"{described['EndpointStatus']}: {status.get('Status', 'unknown')}{message}"
