"""Scaling that acts: instances come when clients call, and go when they stop.

The environment alone decides where it runs. Here, offline, with `polyhost emulator --time-scale 0.01` in another shell,
in which the fifteen minutes before instances go take 9 s:

    eval "$(polyhost emulator env)"
    python -m examples.autoscaling

On AWS: credentials, a region, an image in ECR, `--image` and `--role ARN`.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3

from examples.account import Account, Resources, argument_parser
from examples.prices_endpoint import BETWEEN_LOOKS_S, VARIANT, PricesEndpoint

NAME = "prices-scaled"
MOST = 3
TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": f"endpoint/{NAME}/variant/{VARIANT}",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
POLICY = {
    "TargetValue": 10.0,  # calls per minute and instance
    "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
    "ScaleOutCooldown": 60,
    "ScaleInCooldown": 60,
}


class ScaledVariant:
    """The endpoint's variant, with a scalable target and a policy while `scaling` lasts."""

    def __init__(self, account: Account) -> None:
        self._sagemaker = account.sagemaker
        self._client = boto3.client("application-autoscaling")

    @contextmanager
    def scaling(self) -> Iterator[None]:
        """Scale between one instance and MOST; print in the end what was done, and why."""
        self._client.register_scalable_target(**TARGET, MinCapacity=1, MaxCapacity=MOST)
        self._client.put_scaling_policy(
            **TARGET,
            PolicyName="calls",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=POLICY,
        )
        yield
        self._client.deregister_scalable_target(**TARGET)  # takes policy and alarms along
        for activity in reversed(self._activities()):
            print(f"{activity['StatusCode']}: {activity['Description']} {activity['Cause']}")

    def wait_for_instances(self, count: int) -> None:
        """Print each number of instances until there are so many, and the endpoint is not changing."""
        shown = 0
        while True:
            described = self._sagemaker.describe_endpoint(EndpointName=NAME)
            instances: int = described["ProductionVariants"][0]["CurrentInstanceCount"]
            if instances != shown:
                print(f"instances: {instances}")
                shown = instances
            if instances == count and described["EndpointStatus"] == "InService":
                return
            time.sleep(BETWEEN_LOOKS_S)

    def _activities(self) -> list[dict[str, Any]]:
        found = self._client.describe_scaling_activities(ServiceNamespace="sagemaker", ResourceId=TARGET["ResourceId"])
        return list(found["ScalingActivities"])


def main(arguments: Sequence[str] | None = None) -> int:
    options = argument_parser("autoscaling", __doc__).parse_args(arguments)
    account = Account(options.image, options.role)
    endpoint, variant = PricesEndpoint(account, NAME), ScaledVariant(account)
    with tempfile.TemporaryDirectory(prefix="polyhost-example-") as folder, Resources(account) as resources:
        endpoint.create(resources, Path(folder), "1")
        with variant.scaling():
            with endpoint.traffic() as traffic:
                variant.wait_for_instances(MOST)
            variant.wait_for_instances(1)
        print(f"calls meanwhile: {traffic.describe()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
