"""A multi-container endpoint with direct invocation: two frameworks on the same instances, each called by its name.

One task, a model of scikit-learn and one of PyTorch: to compare them, or because neither alone fills an instance. The
environment alone decides where it runs. Here, offline, with `polyhost emulator` in another shell:

    eval "$(polyhost emulator env)"
    python -m examples.multi_container_endpoint

On AWS: credentials, a region, images in ECR, `--image` and `--role ARN`.
"""

import argparse
import json
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError, WaiterError

NAME = "digits-multi-container"
CONTAINERS = ("sklearn", "torch")  # ContainerHostname; here also the framework that the container serves


def train(folder: Path) -> Any:
    """Write the contents of an archive for each container, and return digits that none has seen, with their classes."""
    import joblib
    import torch
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import train_test_split

    pixels, classes = load_digits(return_X_y=True)
    x, unseen, y, expected = train_test_split(pixels, classes, test_size=100, random_state=0)
    for name in CONTAINERS:
        (folder / name).mkdir()
    forest = RandomForestClassifier(50, random_state=0).fit(x, y)
    joblib.dump(forest, folder / "sklearn" / "forest.joblib")

    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    inputs, targets = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(inputs), targets).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    torch.jit.script(network.eval()).save(str(folder / "torch" / "network.pt"))  # type: ignore[no-untyped-call]
    return unseen, expected


class Endpoint:
    """The model, the endpoint configuration and the endpoint, all of one name."""

    def __init__(self, image: str | None, role: str | None) -> None:
        self._sagemaker = boto3.client("sagemaker")
        self._runtime = boto3.client("sagemaker-runtime")
        self._s3 = boto3.client("s3")
        account, self._region = boto3.client("sts").get_caller_identity()["Account"], boto3.Session().region_name
        self._bucket = f"sagemaker-{self._region}-{account}"
        self._image = image or f"{account}.dkr.ecr.{self._region}.amazonaws.com/demo-sagemaker-multimodel:latest"
        self._role = role or f"arn:aws:iam::{account}:role/demo-sagemaker-multimodel"

    def upload(self, folder: Path) -> str:
        """Pack the contents of an archive, upload it, and return its address."""
        archive = folder.with_suffix(".tar.gz")
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(folder, arcname=".")
        try:
            self._s3.head_bucket(Bucket=self._bucket)
        except ClientError:
            # us-east-1 is the one region that must not be named (S3's API reference, CreateBucket).
            elsewhere = {"CreateBucketConfiguration": {"LocationConstraint": self._region}}
            self._s3.create_bucket(Bucket=self._bucket, **({} if self._region == "us-east-1" else elsewhere))
        self._s3.upload_file(str(archive), self._bucket, f"{NAME}/{archive.name}")
        return f"s3://{self._bucket}/{NAME}/{archive.name}"

    @contextmanager
    def running(self, folder: Path) -> Iterator[None]:
        """Create the endpoint of two containers, wait until it is in service, and delete it when the block ends."""
        containers = [
            {
                "ContainerHostname": name,
                "Image": self._image,  # they may have different ones
                "ModelDataUrl": self.upload(folder / name),
                "Environment": {"POLYHOST_FRONTEND": "native", "POLYHOST_ZYGOTES": name},
            }
            for name in CONTAINERS
        ]
        how = {"Mode": "Direct"}
        variant = {"VariantName": "AllTraffic", "ModelName": NAME}
        capacity = {"InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 1}
        with ExitStack() as stack:
            self._sagemaker.create_model(
                ModelName=NAME, ExecutionRoleArn=self._role, Containers=containers, InferenceExecutionConfig=how
            )
            stack.callback(self._sagemaker.delete_model, ModelName=NAME)
            self._sagemaker.create_endpoint_config(EndpointConfigName=NAME, ProductionVariants=[variant | capacity])
            stack.callback(self._sagemaker.delete_endpoint_config, EndpointConfigName=NAME)
            self._sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME)
            stack.callback(self._delete_endpoint)
            self._wait_until_in_service()
            yield

    def _wait_until_in_service(self) -> None:
        try:
            self._sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=NAME)
        except WaiterError:
            sys.exit(self._sagemaker.describe_endpoint(EndpointName=NAME).get("FailureReason", "it takes too long"))

    def _delete_endpoint(self) -> None:
        self._sagemaker.delete_endpoint(EndpointName=NAME)
        self._sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=NAME)

    def invoke(self, container: str, rows: Any) -> Any:
        """Return one container's response."""
        response = self._runtime.invoke_endpoint(
            EndpointName=NAME,
            TargetContainerHostname=container,
            ContentType="application/json",
            Accept="application/json",
            Body=json.dumps(rows.tolist()),
        )
        return json.loads(response["Body"].read())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.multi_container_endpoint", description=__doc__)
    parser.add_argument("--image", help="the containers' image (default: demo-sagemaker-multimodel in your ECR)")
    parser.add_argument("--role", help="the ARN of the role that SageMaker assumes; the emulator ignores it")
    options = parser.parse_args(arguments)
    endpoint = Endpoint(options.image, options.role)
    with tempfile.TemporaryDirectory(prefix="polyhost-example-") as folder:
        unseen, expected = train(Path(folder))
        with endpoint.running(Path(folder)):
            classes = endpoint.invoke("sklearn", unseen)
            scores = endpoint.invoke("torch", unseen / 16)
    for name, found in (("sklearn", classes), ("torch", [row.index(max(row)) for row in scores])):
        right = sum(one == other for one, other in zip(found, expected.tolist(), strict=True))
        print(f"{name}: {right} of {len(expected)} digits recognised")
    return 0


if __name__ == "__main__":
    sys.exit(main())
