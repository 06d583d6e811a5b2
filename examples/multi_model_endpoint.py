"""AWS's notebook on multi-model endpoints as a script: the same calls of boto3 in the same order.

The environment alone decides where it runs. Here, offline, with `polyhost emulator` in another shell:

    eval "$(polyhost emulator env)"
    python -m examples.multi_model_endpoint

On AWS: credentials, a region, an image in ECR (build_and_push.sh), and `--role ARN`. Against a container alone, without
SageMaker: `polyhost serve --store s3://BUCKET/demo-multimodel-endpoint/`, of the account's bucket, and here
`--endpoint-url http://127.0.0.1:8080`. Then nothing but that address of the runtime's client differs, and no endpoint
is created. The notebook downloads pretrained
networks; offline they come from Gluon's model zoo with random weights. Archives that are already in `--data` are used.
"""

import io
import json
import random
import sys
import tarfile
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import gmtime, strftime
from typing import Any

import boto3

from examples.account import Account, argument_parser

PREFIX = "demo-multimodel-endpoint"
INSTANCES = 2
COPIES = 10
CALLS = 100
SHAPE = (1, 3, 224, 224)
CLASSES = 1000


class Notebook:
    """The state that the notebook's cells share."""

    def __init__(self, account: Account, endpoint_url: str | None = None) -> None:
        """`endpoint_url`: of a container that answers in SageMaker's place."""
        self.account = account
        self.sm_client = account.sagemaker
        self.runtime_sm_client = boto3.client("sagemaker-runtime", endpoint_url=endpoint_url)
        self.s3 = boto3.resource("s3")
        self.models: list[str] = []

    def upload(self, archive: Path, name: str) -> None:
        """Add a model to the endpoint: upload its archive."""
        with archive.open("rb") as file:
            self.s3.Bucket(self.account.bucket).Object(f"{PREFIX}/{name}").upload_fileobj(file)
        self.models.append(name)

    @contextmanager
    def model(self) -> Iterator[str]:
        """Create a model, and delete it when the block ends."""
        name = "DEMO-MultiModelModel" + _now()
        url = f"https://s3-{self.account.region}.amazonaws.com/{self.account.bucket}/{PREFIX}/"
        print(f"Model name: {name}\nModel data Url: {url}\nContainer image: {self.account.image}")
        container = {"Image": self.account.image, "ModelDataUrl": url, "Mode": "MultiModel"}
        response = self.sm_client.create_model(
            ModelName=name, ExecutionRoleArn=self.account.role, Containers=[container]
        )
        print("Model Arn:", response["ModelArn"])
        try:
            yield name
        finally:
            self.sm_client.delete_model(ModelName=name)

    @contextmanager
    def endpoint_config(self, model_name: str) -> Iterator[str]:
        """Create an endpoint configuration, and delete it when the block ends."""
        name = "DEMO-MultiModelEndpointConfig-" + _now()
        variant = {
            "InstanceType": "ml.m5.xlarge",
            "InitialInstanceCount": INSTANCES,
            "InitialVariantWeight": 1,
            "ModelName": model_name,
            "VariantName": "AllTraffic",
        }
        response = self.sm_client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        print("Endpoint config Arn:", response["EndpointConfigArn"])
        try:
            yield name
        finally:
            self.sm_client.delete_endpoint_config(EndpointConfigName=name)

    @contextmanager
    def endpoint(self, config_name: str) -> Iterator[str]:
        """Create an endpoint and wait until it is in service; delete it when the block ends."""
        name = "DEMO-MultiModelEndpoint-" + _now()
        response = self.sm_client.create_endpoint(EndpointName=name, EndpointConfigName=config_name)
        print("Endpoint Arn:", response["EndpointArn"])
        try:
            print("Endpoint Status:", self.sm_client.describe_endpoint(EndpointName=name)["EndpointStatus"])
            print(f"Waiting for {name} endpoint to be in service...")
            self.sm_client.get_waiter("endpoint_in_service").wait(EndpointName=name)
            yield name
        finally:
            self._delete_endpoint(name)

    def _delete_endpoint(self, name: str) -> None:
        """Wait out the creation: DeleteEndpoint rejects an endpoint that is still being created."""
        while self.sm_client.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Creating":
            time.sleep(1)
        self.sm_client.delete_endpoint(EndpointName=name)

    def classify(self, endpoint_name: str, target_model: str, picture: bytes) -> list[str]:
        """Return the likeliest classes of the picture."""
        response = self.runtime_sm_client.invoke_endpoint(
            EndpointName=endpoint_name,
            ContentType="application/x-image",
            TargetModel=target_model,  # the archive's path below ModelDataUrl
            Body=picture,
        )
        classes: list[str] = json.loads(response["Body"].read())
        return classes


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argument_parser("multi_model_endpoint", __doc__)
    parser.add_argument(
        "--data", type=Path, help="folder of the archives; missing ones are made (default: a temporary folder)"
    )
    parser.add_argument("--picture", type=Path, help="the image to send (default: a flower, which scikit-learn ships)")
    parser.add_argument("--endpoint-url", metavar="URL", help="a container with the bucket as its store answers")
    parser.add_argument("--deep", type=int, choices=(34, 50, 152), default=152, help="layers of the second network")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        data = options.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="polyhost-example-")))
        data.mkdir(parents=True, exist_ok=True)
        notebook = Notebook(Account(options.image, options.role), options.endpoint_url)
        names = upload_first(notebook, data, options.deep)
        if options.endpoint_url:
            endpoint_name = "any"
        else:
            model_name = stack.enter_context(notebook.model())
            config_name = stack.enter_context(notebook.endpoint_config(model_name))
            endpoint_name = stack.enter_context(notebook.endpoint(config_name))
        invoke(notebook, endpoint_name, data, names, _picture(options.picture))
    print("Everything that was created in SageMaker is deleted; the archives are still in S3.")
    return 0


def upload_first(notebook: Notebook, data: Path, deep: int) -> tuple[str, str]:
    """Run the notebook's cells that upload the first two models, and return their names."""
    networks = {"resnet_18": "resnet18_v1", f"resnet_{deep}": f"resnet{deep}_v1"}
    shallow, deeper = (archive(data, name, network) for name, network in networks.items())
    notebook.account.make_bucket()
    for path in (shallow, deeper):
        notebook.upload(path, path.name)
    return shallow.name, deeper.name


def invoke(notebook: Notebook, endpoint_name: str, data: Path, names: tuple[str, str], picture: bytes) -> None:
    """Run the notebook's cells that invoke models and add others."""
    shallow, deeper = names
    for name in (shallow, shallow, deeper):
        show(notebook, endpoint_name, name, picture)
    squeezenet = archive(data, "squeezenet_v1.0", "squeezenet1_0")
    for number in range(COPIES):
        notebook.upload(squeezenet, f"demo-subfolder/squeezenet_v1.0_{number}.tar.gz")
    print("Number of models:", len(notebook.models))
    call_at_random(notebook, endpoint_name, picture)
    # On AWS an archive is never overwritten: its cached copy would stay in use. A new version has a new name.
    notebook.upload(data / shallow, "resnet_18_v2.tar.gz")
    show(notebook, endpoint_name, "resnet_18_v2.tar.gz", picture)


def show(notebook: Notebook, endpoint_name: str, target_model: str, picture: bytes) -> None:
    """Invoke one model, and print its response and how long that took."""
    start = time.perf_counter()
    classes = notebook.classify(endpoint_name, target_model, picture)
    print(f"{target_model}, {time.perf_counter() - start:.3f} s:", *classes, sep="\n  ")


def call_at_random(notebook: Notebook, endpoint_name: str, picture: bytes) -> None:
    """Invoke models at random, and print how often each class was the likeliest."""
    start = time.perf_counter()
    results: dict[str, int] = defaultdict(int)
    for _ in range(CALLS):
        results[notebook.classify(endpoint_name, random.choice(notebook.models), picture)[0]] += 1
    print(f"{CALLS} calls of {len(notebook.models)} models at random, {time.perf_counter() - start:.1f} s:")
    print(*results.items(), sep="\n")


def archive(data: Path, name: str, network: str) -> Path:
    """Make NAME.tar.gz with the network's symbol, parameters and shapes, and the names of its classes."""
    path = data / f"{name}.tar.gz"
    if not path.exists():
        folder = data / name
        folder.mkdir(exist_ok=True)
        export(network, folder / name.replace("_", "-", 1))
        whole = path.with_suffix(".part")
        with tarfile.open(whole, "w:gz", compresslevel=1) as tar:  # weights hardly compress
            tar.add(folder, arcname=".")
        whole.rename(path)
    return path


def export(network: str, prefix: Path) -> None:
    """Write a network of Gluon's model zoo with random weights, as Module's checkpoint."""
    import numpy

    # MXNet 1.9.1, its last release, asks for numpy.bool, which numpy 1.24 removed (apache/mxnet#21165).
    setattr(numpy, "bool", numpy.bool_)  # noqa: B010
    import mxnet as mx
    from mxnet.gluon import nn

    mx.random.seed(0)
    zoo: Any = mx.gluon.model_zoo.vision
    model = nn.HybridSequential()
    model.add(getattr(zoo, network)(classes=CLASSES), nn.HybridLambda("softmax"))
    model.initialize(mx.init.Xavier())
    model.hybridize()
    model(mx.nd.zeros(SHAPE))
    model.export(str(prefix))
    prefix.with_name(f"{prefix.name}-shapes.json").write_text(json.dumps([{"shape": SHAPE, "name": "data"}]))
    synset = "".join(f"n{number:08d} class {number}\n" for number in range(CLASSES))
    prefix.with_name("synset.txt").write_text(synset)


def _picture(path: Path | None) -> bytes:
    if path:
        return path.read_bytes()
    from PIL import Image
    from sklearn.datasets import load_sample_image

    stream = io.BytesIO()
    Image.fromarray(load_sample_image("flower.jpg")).save(stream, "JPEG")
    return stream.getvalue()


def _now() -> str:
    return strftime("%Y-%m-%d-%H-%M-%S", gmtime())


if __name__ == "__main__":
    sys.exit(main())
