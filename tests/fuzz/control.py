"""Control calls that race: several clients create, update and delete the same few endpoints of an emulator."""

import json
import sys
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import psutil
from botocore.exceptions import BotoCoreError, ClientError

from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.server import Emulator
from tests.emulator.archives import archive
from tests.fuzz.runner import Case, FindingError
from tests.support.emulator import boto3_client
from tests.support.processes import query
from tests.support.waiting import wait_for

_CONTAINER = Path(__file__).parent.parent / "emulator" / "small_container.py"
_CLIENTS, _CALLS = 6, 24  # of one case
_NAMES = ("one", "two", "One", "three")
_ROLE = "arn:aws:iam::123456789012:role/test"
_SETTLED_S = 120.0

Call = tuple[str, dict[str, Any]]


class ControlSubject:
    """A case is a list of calls, which as many threads as there are clients take one by one."""

    name = "control"
    check_every = 10
    shrinks = False  # it depends on who comes first

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._stack = ExitStack()
        # An option that Python ignores: other emulators of this process may have containers of the same program.
        self._mark = f"of={uuid.uuid4().hex}"
        command = (sys.executable, "-X", self._mark, str(_CONTAINER))
        self._emulator = self._stack.enter_context(Emulator(EmulatorConfig(port=0, command=command)))
        self._pool = self._stack.enter_context(ThreadPoolExecutor(_CLIENTS))
        self._sagemaker = boto3_client(self._emulator.url, "sagemaker")
        self._runtime = boto3_client(self._emulator.url, "sagemaker-runtime")
        s3 = boto3_client(self._emulator.url, "s3")
        s3.create_bucket(Bucket="fuzz")
        s3.put_object(Bucket="fuzz", Key="models/m.tar.gz", Body=archive("m"))

    def close(self) -> None:
        self._stack.close()

    def new_case(self, chance: Random) -> Case:
        return Case(json.dumps([_call(chance) for _ in range(_CALLS)]).encode())

    def attempt(self, case: Case) -> None:
        calls: list[Call] = json.loads(case.data)
        for problem in filter(None, self._pool.map(self._try, calls)):
            raise FindingError(problem)

    def _try(self, call: Call) -> str | None:
        """Make one call; return what is wrong with its response."""
        operation, members = call
        client = self._runtime if operation == "invoke_endpoint" else self._sagemaker
        self.counts["calls"] += 1
        try:
            getattr(client, operation)(**members)
        except ClientError as error:
            status, code = error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
            self.counts[f"{status} {code}"] += 1
            if status >= 500 and operation != "invoke_endpoint":
                return f"{operation}({members}): {error}"
        except BotoCoreError as error:
            return f"{operation}({members}): {error!r}"
        else:
            self.counts["succeeded"] += 1
        return None

    def check(self) -> None:
        """Check that every endpoint settles, with as many instances as are desired."""
        try:
            wait_for(lambda: not self._unsettled(), "all endpoints to settle", _SETTLED_S)
        except AssertionError as error:
            raise FindingError(f"{error}: {self._unsettled()}") from error
        except (ClientError, BotoCoreError) as error:
            raise FindingError(f"the emulator does not answer: {error!r}") from error

    def _unsettled(self) -> list[str]:
        found = []
        for name in self._endpoints():
            try:
                description = self._sagemaker.describe_endpoint(EndpointName=name)
            except ClientError:  # deleted since
                continue
            variants = description.get("ProductionVariants", [])  # none before the first instance has started
            counts = [(v["CurrentInstanceCount"], v["DesiredInstanceCount"]) for v in variants]
            if description["EndpointStatus"] not in ("InService", "Failed") or any(a != b for a, b in counts):
                found.append(f"{name}: {description['EndpointStatus']} {counts}")
        return found

    def _endpoints(self) -> list[str]:
        return [item["EndpointName"] for item in self._sagemaker.list_endpoints(MaxResults=100)["Endpoints"]]

    def finish(self) -> None:
        """Delete all endpoints: no process of theirs may be left."""
        for name in self._endpoints():
            self._sagemaker.delete_endpoint(EndpointName=name)
        deadline = time.monotonic() + _SETTLED_S
        while (left := self._containers() or self._endpoints()) and time.monotonic() < deadline:
            time.sleep(0.1)
        if left:
            raise FindingError(f"after the deletion of all endpoints there are {left}")

    def _containers(self) -> list[psutil.Process]:
        children = psutil.Process().children(recursive=True)
        return [child for child in children if self._mark in (query(child.cmdline) or [])]


def _call(chance: Random) -> Call:
    name, other = chance.choice(_NAMES), chance.choice(_NAMES)
    count = chance.choice((1, 1, 2, 0))
    model = {"Image": "small", "Mode": "MultiModel", "ModelDataUrl": "s3://fuzz/models/"}
    variant = {
        "VariantName": "v",
        "ModelName": other,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": count or 1,
    }
    weights = [{"VariantName": "v", "DesiredInstanceCount": count, "DesiredWeight": chance.choice((0.0, 1.0))}]
    tags = [{"Key": other, "Value": name}]
    arn = f"arn:aws:sagemaker:us-east-1:123456789012:endpoint/{name.lower()}"
    common: list[Call] = [
        ("create_model", {"ModelName": name, "ExecutionRoleArn": _ROLE, "PrimaryContainer": model}),
        ("create_endpoint_config", {"EndpointConfigName": name, "ProductionVariants": [variant]}),
        ("create_endpoint", {"EndpointName": name, "EndpointConfigName": other, "Tags": tags}),
        ("update_endpoint", {"EndpointName": name, "EndpointConfigName": other}),
        ("update_endpoint_weights_and_capacities", {"EndpointName": name, "DesiredWeightsAndCapacities": weights}),
        (
            "invoke_endpoint",
            {"EndpointName": name, "TargetModel": chance.choice(("m.tar.gz", "none")), "Body": b"?".decode()},
        ),
    ]
    rare: list[Call] = [
        ("delete_model", {"ModelName": name}),
        ("delete_endpoint_config", {"EndpointConfigName": name}),
        ("delete_endpoint", {"EndpointName": name}),
        ("delete_endpoint", {"EndpointName": name}),
        ("list_endpoints", {"NameContains": "o", "MaxResults": chance.randint(1, 3)}),
        ("list_models", {}),
        ("describe_endpoint_config", {"EndpointConfigName": name}),
        ("add_tags", {"ResourceArn": arn, "Tags": tags}),
        ("list_tags", {"ResourceArn": arn}),
    ]
    return chance.choice(common if chance.random() < 0.7 else rare)
