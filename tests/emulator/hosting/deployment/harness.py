"""Endpoints of small containers that are updated in steps, while clients call them."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
from botocore.exceptions import ClientError

from tests.emulator.archives import archive
from tests.emulator.conftest import REGION, Local
from tests.support.waiting import wait_for

TIME_SCALE = 0.01
PERCENT, COUNT = "CAPACITY_PERCENT", "INSTANCE_COUNT"


def canary(percent: int, wait: int = 3600, **members: Any) -> dict[str, Any]:
    """Return a DeploymentConfig; further members are those of BlueGreenUpdatePolicy."""
    return blue_green("CANARY", wait, {"CanarySize": {"Type": PERCENT, "Value": percent}}, **members)


def linear(percent: int, wait: int, **members: Any) -> dict[str, Any]:
    return blue_green("LINEAR", wait, {"LinearStepSize": {"Type": PERCENT, "Value": percent}}, **members)


def blue_green(kind: str, wait: int, sizes: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    routing = {"Type": kind, "WaitIntervalInSeconds": wait} | (sizes or {})
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing} | members}


def rolling(percent: int, wait: int, **members: Any) -> dict[str, Any]:
    size = {"Type": PERCENT, "Value": percent}
    return {"RollingUpdatePolicy": {"MaximumBatchSize": size, "WaitIntervalInSeconds": wait} | members}


def guarded(config: dict[str, Any], *alarms: str) -> dict[str, Any]:
    """Return the DeploymentConfig with alarms that roll back."""
    return config | {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarms]}}


class Load:
    """Calls of an endpoint that never pause: the names of the models that answered, and errors."""

    def __init__(self) -> None:
        self.names: Counter[str] = Counter()
        self.errors: list[str] = []


class Deployments:
    """An emulator, and what most tests of deployments do with it."""

    def __init__(self, local: Local) -> None:
        self.local = local
        self.sagemaker = local.sagemaker
        self.cloudwatch = local.emulator.client("cloudwatch", REGION)

    def model(self, name: str, environment: dict[str, str] | None = None, **settings: Any) -> None:
        """Create a model whose responses have its name, and a configuration of one instance of it."""
        self.local.s3.put_object(Bucket="models", Key=f"{name}/model.tar.gz", Body=archive(name, **settings))
        self.local.model(name, multi_model=False, Environment=environment or {})
        self.local.config(name)

    def endpoint(self, name: str, count: int = 1) -> None:
        """Create an endpoint whose model is NAME-old, and the model and the configuration NAME-new beside it."""
        for kind in ("old", "new"):
            self.model(f"{name}-{kind}")
        config = f"{name}-old"
        if count > 1:
            config = f"{name}-old-{count}"
            self.local.config(config, count, f"{name}-old")
            self.local.config(f"{name}-new-{count}", count, f"{name}-new")
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        self.local.wait(name)

    def update(self, name: str, config: str, deployment: dict[str, Any]) -> None:
        self.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config, DeploymentConfig=deployment)

    def describe(self, name: str) -> dict[str, Any]:
        described: dict[str, Any] = self.sagemaker.describe_endpoint(EndpointName=name)
        return described

    def status(self, name: str) -> str:
        return str(self.describe(name)["EndpointStatus"])

    def wait_for_status(self, name: str, *statuses: str) -> dict[str, Any]:
        """Return the description once the endpoint has one of these statuses."""
        wait_for(lambda: self.state(name)["status"] in statuses, f"{name} in {', '.join(statuses)}", 300)
        return self.describe(name)

    def wait_for_stage(self, name: str, stage: str, share: float | None = None) -> dict[str, Any]:
        """Return the endpoint's state once its deployment is in a stage, with a share of the traffic if given."""

        def reached() -> dict[str, Any] | None:
            state = self.state(name)
            deployment = state["deployment"]
            reached = deployment is not None and deployment["stage"] == stage
            return state if reached and share in (None, deployment["share"]) else None

        found: dict[str, Any] = wait_for(reached, f"{name} in stage {stage}", 300)
        return found

    def wait_for_share(self, name: str, share: float) -> None:
        """Return when the new fleet has this share of the traffic, or more."""
        wait_for(lambda: self.state(name)["deployment"]["share"] >= share, f"{share:.0%} of {name}", 300)

    def state(self, name: str) -> dict[str, Any]:
        state = httpx.get(f"{self.local.emulator.url}/_polyhost/state", trust_env=False).json()
        found: dict[str, Any] = next(item for item in state["endpoints"] if item["name"] == name)
        return found

    def metrics(self) -> str:
        return httpx.get(f"{self.local.emulator.url}/_polyhost/metrics", trust_env=False).text

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the dashboard's events of an endpoint, the oldest first."""
        found: list[dict[str, Any]] = []
        with httpx.stream("GET", f"{self.local.emulator.url}/_polyhost/events", trust_env=False) as response:
            kind = ""
            for line in response.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    kind = value
                elif field == "data" and kind == "event":
                    found.append(json.loads(value))
                elif field == "data":
                    break
        return [event for event in found if event["place"]["endpoint"] == name]

    def answers(self, name: str, calls: int) -> Counter[str]:
        """Call an endpoint, and count the models that answer."""
        return Counter(self._call(name) for _ in range(calls))

    def _call(self, name: str) -> str:
        return str(json.loads(self.local.invoke(name, None)["Body"].read())["name"]).removeprefix(f"{name}-")

    @contextmanager
    def load(self, name: str, callers: int = 3) -> Iterator[Load]:
        """Call an endpoint without a pause while the block runs."""
        load, ended = Load(), threading.Event()

        def call() -> None:
            while not ended.is_set():
                try:
                    load.names[self._call(name)] += 1
                except ClientError as error:
                    load.errors.append(str(error))
                    time.sleep(0.01)

        with ThreadPoolExecutor(callers) as pool:
            running = [pool.submit(call) for _ in range(callers)]
            try:
                yield load
            finally:
                ended.set()
        for future in running:
            future.result()

    def alarm(self, name: str) -> str:
        """Put an alarm that only SetAlarmState trips."""
        self.cloudwatch.put_metric_alarm(
            AlarmName=name,
            Namespace="None",
            MetricName="None",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1.0,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="ignore",
        )
        return name

    def trip(self, alarm: str) -> None:
        self.cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="by hand")

    def delete(self, name: str) -> None:
        self.sagemaker.delete_endpoint(EndpointName=name)
        self.local.wait(name, "endpoint_deleted")


def instances(state: dict[str, Any], config: str) -> Sequence[dict[str, Any]]:
    """Return the instances of the variants of a configuration."""
    return [item for variant in state["variants"] if variant["config"] == config for item in variant["instances"]]
