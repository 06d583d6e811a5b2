"""Application Auto Scaling of small containers, by boto3, in an emulator whose minutes take 0.6 s."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.emulator.alarms.harness import NAMESPACE, AlarmHarness
from tests.emulator.archives import archive
from tests.emulator.conftest import REGION, AnyEmulator, Local
from tests.support.waiting import wait_for

SUSPENSIONS = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
INSTANCES = "sagemaker:variant:DesiredInstanceCount"
PROVISIONED = "sagemaker:variant:DesiredProvisionedConcurrency"
TIME_SCALE = 0.01
WAIT_S = 120.0


class ScaledEndpoint:
    """An endpoint of one variant, AllTraffic, and what is done with its capacity."""

    def __init__(self, emulator: AnyEmulator, name: str, dimension: str = INSTANCES) -> None:
        self.local, self.alarms, self.name = Local(emulator), AlarmHarness(emulator), name
        self.scaling = emulator.client("application-autoscaling", REGION)
        self.target = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": f"endpoint/{name}/variant/AllTraffic",
            "ScalableDimension": dimension,
        }

    def host(self, count: int = 1, environment: dict[str, str] | None = None, **settings: Any) -> None:
        """Create the endpoint with a single model of these settings."""
        self.local.s3.put_object(Bucket="models", Key=f"{self.name}/model.tar.gz", Body=archive("one", **settings))
        self.local.host(self.name, count, multi_model=False, Environment=environment or {})

    def delete(self) -> None:
        """Delete the endpoint, when it is not being scaled any more."""
        for least, most in [(target["MinCapacity"], target["MaxCapacity"]) for target in self.described_targets()]:
            self.register(least, most, SuspendedState=dict.fromkeys(SUSPENSIONS, True))
        self.local.wait(self.name)
        self.local.sagemaker.delete_endpoint(EndpointName=self.name)
        self.local.wait(self.name, "endpoint_deleted")

    def described_targets(self) -> list[dict[str, Any]]:
        members = {"ServiceNamespace": "sagemaker", "ResourceIds": [self.target["ResourceId"]]}
        return list(self.scaling.describe_scalable_targets(**members)["ScalableTargets"])

    def described_target(self) -> dict[str, Any]:
        (found,) = self.described_targets()
        return found

    def register(self, least: int, most: int, **members: Any) -> None:
        self.scaling.register_scalable_target(**self.target, MinCapacity=least, MaxCapacity=most, **members)

    def track(self, value: float, metric: str | dict[str, Any], name: str = "track", **members: Any) -> dict[str, Any]:
        """Put a policy of target tracking without cool-downs, on a predefined metric by its name or on another one."""
        if isinstance(metric, str):
            specification: dict[str, Any] = {"PredefinedMetricSpecification": {"PredefinedMetricType": metric}}
        else:
            specification = {"CustomizedMetricSpecification": metric}
        config = {"TargetValue": value, "ScaleInCooldown": 0, "ScaleOutCooldown": 0} | specification | members
        policy: dict[str, Any] = self.scaling.put_scaling_policy(
            **self.target,
            PolicyName=name,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=config,
        )
        return policy

    def step(self, adjustment: int, name: str = "step", kind: str = "ChangeInCapacity", cooldown: int = 0) -> str:
        """Put a policy of one step for values from the threshold on, and return its ARN."""
        config = {
            "AdjustmentType": kind,
            "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": adjustment}],
            "Cooldown": cooldown,
        }
        policy = self.scaling.put_scaling_policy(
            **self.target, PolicyName=name, PolicyType="StepScaling", StepScalingPolicyConfiguration=config
        )
        return str(policy["PolicyARN"])

    def activities(self, **members: Any) -> list[dict[str, Any]]:
        """Return the activities, the latest first."""
        found = self.scaling.describe_scaling_activities(
            ServiceNamespace="sagemaker", ResourceId=self.target["ResourceId"], **members
        )
        return list(found["ScalingActivities"])

    def variant(self) -> dict[str, Any]:
        (found,) = self.local.sagemaker.describe_endpoint(EndpointName=self.name)["ProductionVariants"]
        described: dict[str, Any] = found
        return described

    def counts(self) -> tuple[int, int]:
        """Return DesiredInstanceCount and CurrentInstanceCount."""
        found = self.variant()
        return found["DesiredInstanceCount"], found["CurrentInstanceCount"]

    def wait_for_count(self, count: int) -> None:
        wait_for(lambda: self.counts() == (count, count), f"{count} instances of {self.name}", WAIT_S)

    def wait_for_activity(self, **members: Any) -> dict[str, Any]:
        """Return the latest activity that has these members."""

        def found() -> list[dict[str, Any]]:
            return [
                item for item in self.activities(IncludeNotScaledActivities=True) if members.items() <= item.items()
            ]

        activity: dict[str, Any] = wait_for(found, f"an activity with {members}", WAIT_S)[0]
        return activity

    @contextmanager
    def load(self, senders: int, pause_s: float) -> Iterator[list[int | Exception]]:
        """Invoke again and again while the block runs; yield the statuses, or errors, so far."""
        ended, answers = threading.Event(), list[int | Exception]()

        def send() -> None:
            while not ended.is_set():
                try:
                    response = self.local.invoke(self.name, None)
                    answers.append(response["ResponseMetadata"]["HTTPStatusCode"])
                except Exception as error:
                    answers.append(error)
                ended.wait(pause_s)

        threads = [threading.Thread(target=send) for _ in range(senders)]
        for thread in threads:
            thread.start()
        try:
            yield answers
        finally:
            ended.set()
            for thread in threads:
                thread.join()

    def custom_metric(self) -> dict[str, Any]:
        """Return a metric of the test's own, named for the endpoint."""
        return {"MetricName": self.name, "Namespace": NAMESPACE, "Statistic": "Average"}

    @contextmanager
    def shared_load(self, load: list[float]) -> Iterator[None]:
        """Publish a load, the list's last value, divided by the instances in service, as the custom metric."""
        with self.alarms.publishing(lambda: load[-1] / max(1, self.counts()[1]), self.name):
            yield


def soon(seconds: float) -> str:
    """Return the schedule of a time that comes in so many seconds at least."""
    return time.strftime("at(%Y-%m-%dT%H:%M:%S)", time.gmtime(time.time() + seconds + 1))
