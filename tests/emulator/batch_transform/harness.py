"""An emulator whose containers are those of `batch_container`; each test has models, objects and jobs of its own."""

import gzip
import json
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from polyhost.emulator.server import Emulator
from tests.emulator.conftest import REGION, ROLE

COMMAND = (sys.executable, str(Path(__file__).with_name("batch_container.py")))
WAITER = {"Delay": 1, "MaxAttempts": 60}


@dataclass
class Batch:
    """Clients of an emulator with batch containers, and what most tests do with them."""

    emulator: Emulator
    s3: Any = field(init=False)
    sagemaker: Any = field(init=False)

    def __post_init__(self) -> None:
        self.s3, self.sagemaker = (self.emulator.client(service, REGION) for service in ("s3", "sagemaker"))
        with suppress(self.s3.exceptions.BucketAlreadyOwnedByYou):
            self.s3.create_bucket(Bucket="batch", CreateBucketConfiguration={"LocationConstraint": REGION})

    def model(self, name: str, *hostnames: str, **members: Any) -> None:
        """Create a model of one container, or a pipeline of these."""
        containers = [{"Image": "batch", "ContainerHostname": hostname} for hostname in hostnames]
        how = {"Containers": containers} if hostnames else {"PrimaryContainer": {"Image": "batch"} | members}
        self.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, **how)

    def put(self, name: str, objects: dict[str, bytes]) -> None:
        for key, body in objects.items():
            self.s3.put_object(Bucket="batch", Key=f"{name}/in/{key}", Body=body)

    def create(
        self,
        name: str,
        *,
        input: dict[str, Any] | None = None,
        source: dict[str, Any] | None = None,
        output: dict[str, Any] | None = None,
        resources: dict[str, Any] | None = None,
        **members: Any,
    ) -> None:
        """Create a job of this name with the objects below NAME/in/; its model has the same name if none is given."""
        data = {"S3DataType": "S3Prefix", "S3Uri": f"s3://batch/{name}/in/"} | (source or {})
        self.sagemaker.create_transform_job(
            **{
                "TransformJobName": name,
                "ModelName": name,
                "TransformInput": {"DataSource": {"S3DataSource": data}} | (input or {}),
                "TransformOutput": {"S3OutputPath": f"s3://batch/{name}/out"} | (output or {}),
                "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1} | (resources or {}),
            }
            | members
        )

    def run(self, name: str, objects: dict[str, bytes], **members: Any) -> dict[str, Any]:
        """Run a job to its end, whatever that is, and return its description."""
        self.model(name)
        self.put(name, objects)
        self.create(name, **members)
        return self.wait(name)

    def wait(self, name: str) -> dict[str, Any]:
        with suppress(Exception):  # of a job that failed
            waiter = self.sagemaker.get_waiter("transform_job_completed_or_stopped")
            waiter.wait(TransformJobName=name, WaiterConfig=WAITER)
        described: dict[str, Any] = self.sagemaker.describe_transform_job(TransformJobName=name)
        assert described["TransformJobStatus"] not in ("InProgress", "Stopping"), described
        return described

    def outputs(self, name: str) -> dict[str, bytes]:
        """Return the objects below NAME/out/, by the rest of their keys."""
        prefix = f"{name}/out/"
        found = self.s3.list_objects_v2(Bucket="batch", Prefix=prefix).get("Contents", [])
        return {
            item["Key"].removeprefix(prefix): self.s3.get_object(Bucket="batch", Key=item["Key"])["Body"].read()
            for item in found
        }

    def state(self, name: str) -> dict[str, Any]:
        """Return what the dashboard knows of a job."""
        state = httpx.get(f"{self.emulator.url}/_polyhost/state", trust_env=False).json()
        (job,) = (job for job in state["transform_jobs"] if job["name"] == name)
        return dict(job)


def logged(path: Path) -> list[dict[str, Any]]:
    """Return the requests that the containers got."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if "path" in line]


def zipped(data: bytes) -> bytes:
    return gzip.compress(data)
