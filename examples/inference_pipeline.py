"""A serial inference pipeline: preprocessing, inference and postprocessing, each in a container of its own.

One endpoint, one request: scikit-learn scales the measurements, PyTorch scores them, and a script names the species.
Each container's response is the next one's request. The environment alone decides where it runs. Here, offline, with
`polyhost emulator` in another shell:

    eval "$(polyhost emulator env)"
    python -m examples.inference_pipeline

On AWS: credentials, a region, an image in ECR (build_and_push.sh), `--image` and `--role ARN`.
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

NAME = "iris-inference-pipeline"
# Beside the scaler that it uses. What a step returns becomes the JSON that the next step reads.
SCALE = """
from pathlib import Path

import joblib

def model_fn(model_dir):
    return joblib.load(Path(model_dir) / "scaler.joblib")

def predict_fn(measurements, scaler):
    return scaler.transform(measurements)
"""
# A model may be a script alone: this one needs no framework.
NAME_SPECIES = """
import json
from pathlib import Path

def model_fn(model_dir):
    return json.loads((Path(model_dir) / "species.json").read_text())

def predict_fn(scores, species):
    best = [max(range(len(row)), key=lambda index: row[index]) for row in scores]
    return [{"species": species[index], "score": float(row[index])} for index, row in zip(best, scores)]
"""


def train(folder: Path) -> None:
    """Write the contents of three archives: `scale`, `classify`, and `label`."""
    import joblib
    import torch
    from sklearn.datasets import load_iris
    from sklearn.preprocessing import StandardScaler

    iris: Any = load_iris()
    scaler = StandardScaler().fit(iris.data)
    for name in ("scale", "classify", "label"):
        (folder / name).mkdir()
    joblib.dump(scaler, folder / "scale" / "scaler.joblib")
    (folder / "scale" / "inference.py").write_text(SCALE)

    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    inputs, classes = torch.tensor(scaler.transform(iris.data), dtype=torch.float32), torch.tensor(iris.target)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.05)
    for _ in range(100):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(inputs), classes).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    scored = torch.nn.Sequential(network, torch.nn.Softmax(dim=1)).eval()
    torch.jit.script(scored).save(str(folder / "classify" / "network.pt"))  # type: ignore[no-untyped-call]

    (folder / "label" / "species.json").write_text(json.dumps(list(iris.target_names)))
    (folder / "label" / "inference.py").write_text(NAME_SPECIES)


class Pipeline:
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
        """Create the pipeline of three containers, wait until it is in service, and delete it when the block ends."""
        containers = [
            {
                "ContainerHostname": step,
                "Image": self._image,
                "ModelDataUrl": self.upload(folder / step),
                # One framework in each container: it keeps no others ready.
                "Environment": {"POLYHOST_FRONTEND": "native", "POLYHOST_ZYGOTES": framework},
            }
            for step, framework in (("scale", "sklearn"), ("classify", "torch"), ("label", "bare"))
        ]
        how = {"Mode": "Serial"}
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

    def invoke(self, rows: str) -> Any:
        """Send measurements as CSV, and return the last container's response."""
        response = self._runtime.invoke_endpoint(
            EndpointName=NAME, ContentType="text/csv", Accept="application/json", Body=rows
        )
        return json.loads(response["Body"].read())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.inference_pipeline", description=__doc__)
    parser.add_argument("--image", help="the containers' image (default: demo-sagemaker-multimodel in your ECR)")
    parser.add_argument("--role", help="the ARN of the role that SageMaker assumes; the emulator ignores it")
    options = parser.parse_args(arguments)
    pipeline = Pipeline(options.image, options.role)
    rows = ["5.1,3.5,1.4,0.2", "6.0,2.7,4.5,1.5", "6.5,3.0,5.8,2.2"]
    with tempfile.TemporaryDirectory(prefix="polyhost-example-") as folder:
        train(Path(folder))
        with pipeline.running(Path(folder)):
            for row, answer in zip(rows, pipeline.invoke("\n".join(rows)), strict=True):
                print(f"{row} -> {answer['species']} ({answer['score']:.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
