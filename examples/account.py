"""What the examples share: the account that the environment names, and resources that are deleted in the end.

All of it is plain boto3, so the same calls go to AWS or to `polyhost emulator`, by the environment alone.
"""

import argparse
import sys
import tarfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.exceptions import BotoCoreError, ClientError, WaiterError

IMAGE = "demo-sagemaker-multimodel"
CAPACITY = {"InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 1}  # of a variant
BETWEEN_LOOKS_S = 1.0  # at an endpoint that changes
_CHANGING = ("Creating", "Updating", "RollingBack")


def argument_parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the options that all examples have: `image` and `role`, for `Account`."""
    parser = argparse.ArgumentParser(
        prog=f"python -m examples.{module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--image", help=f"the containers' image (default: {IMAGE}:latest in your account's ECR)")
    parser.add_argument("--role", help="the ARN of the role that SageMaker assumes; the emulator ignores it")
    return parser


class Account:
    """An account of AWS, or the emulator: clients, SageMaker's usual bucket, the image and the role.

    Without credentials or a region, the program ends with a message that says what to set.
    """

    def __init__(self, image: str | None, role: str | None) -> None:
        try:
            self.sagemaker = boto3.client("sagemaker")
            self.runtime = boto3.client("sagemaker-runtime")
            self.s3 = boto3.client("s3")
            self.id: str = boto3.client("sts").get_caller_identity()["Account"]
        except (BotoCoreError, ClientError) as error:
            reason = str(error).rstrip(".")
            sys.exit(f'{reason}. Set a region and credentials of AWS, or run: eval "$(polyhost emulator env)"')
        self.region: str = boto3.Session().region_name
        self.bucket = f"sagemaker-{self.region}-{self.id}"
        self.image = image or f"{self.id}.dkr.ecr.{self.region}.amazonaws.com/{IMAGE}:latest"
        self.role = role or f"arn:aws:iam::{self.id}:role/{IMAGE}"

    def make_bucket(self) -> None:
        """Create the bucket if it is missing."""
        try:
            self.s3.head_bucket(Bucket=self.bucket)
        except ClientError:
            # us-east-1 is the one region that must not be named (S3's API reference, CreateBucket).
            elsewhere = {"CreateBucketConfiguration": {"LocationConstraint": self.region}}
            self.s3.create_bucket(Bucket=self.bucket, **({} if self.region == "us-east-1" else elsewhere))

    def upload(self, file: Path, prefix: str) -> str:
        """Upload a file below the prefix, and return its address."""
        self.make_bucket()
        key = f"{prefix}/{file.name}"
        self.s3.upload_file(str(file), self.bucket, key)
        return f"s3://{self.bucket}/{key}"

    def upload_archive(self, folder: Path, prefix: str) -> str:
        """Pack a folder as a model archive, upload it below the prefix, and return its address."""
        archive = folder.with_suffix(".tar.gz")
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(folder, arcname=".")
        return self.upload(archive, prefix)


class Resources:
    """What an example creates in SageMaker. All of it is deleted when the block ends, the newest first.

    `members` are those of the operations' requests (SageMaker's API reference); names and the role are added here.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._sagemaker = account.sagemaker
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def create_model(self, name: str, **members: Any) -> None:
        """Create a model of one container (`PrimaryContainer`) or of several (`Containers`)."""
        self._sagemaker.create_model(ModelName=name, ExecutionRoleArn=self._account.role, **members)
        self._stack.callback(self._sagemaker.delete_model, ModelName=name)

    def create_endpoint_config(self, name: str, **members: Any) -> None:
        """Create an endpoint configuration, of `ProductionVariants` at least."""
        self._sagemaker.create_endpoint_config(EndpointConfigName=name, **members)
        self._stack.callback(self._sagemaker.delete_endpoint_config, EndpointConfigName=name)

    def create_endpoint(self, name: str, config: str) -> None:
        """Create an endpoint, and return when it is in service. The program ends if that fails."""
        self._sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        self._stack.callback(self._delete_endpoint, name)
        self._wait_until_in_service(name)

    def update_endpoint(self, name: str, config: str) -> None:
        """Give an endpoint another configuration, and return when it is in service. The program ends if that fails."""
        self._sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config)
        self._wait_until_in_service(name)

    def _wait_until_in_service(self, name: str) -> None:
        try:
            self._sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name)
        except WaiterError as error:
            sys.exit(self._sagemaker.describe_endpoint(EndpointName=name).get("FailureReason", str(error)))

    def _delete_endpoint(self, name: str) -> None:
        """Wait out a creation or an update: DeleteEndpoint rejects an endpoint that has one in progress."""
        while self._sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] in _CHANGING:
            time.sleep(BETWEEN_LOOKS_S)
        self._sagemaker.delete_endpoint(EndpointName=name)
        self._sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name)
