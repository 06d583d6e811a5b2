"""A serial inference pipeline: preprocessing, inference and postprocessing, each in a container of its own.

One endpoint, one request: scikit-learn scales the measurements, PyTorch scores them, and a script names the species.
Each container's response is the next one's request. The environment alone decides where it runs. Here, offline, with
`polyhost emulator` in another shell:

    eval "$(polyhost emulator env)"
    python -m examples.inference_pipeline

On AWS: credentials, a region, an image in ECR (build_and_push.sh), `--image` and `--role ARN`.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from examples.account import CAPACITY, Account, Resources, argument_parser

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
    """An endpoint of three containers. The model, the endpoint configuration and the endpoint have one name."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def create(self, resources: Resources, folder: Path) -> None:
        """Create the pipeline from the contents of its archives, and return when it is in service."""
        containers = [
            {
                "ContainerHostname": step,
                "Image": self._account.image,
                "ModelDataUrl": self._account.upload_archive(folder / step, NAME),
                # One framework in each container: it keeps no others ready.
                "Environment": {"POLYHOST_FRONTEND": "native", "POLYHOST_ZYGOTES": framework},
            }
            for step, framework in (("scale", "sklearn"), ("classify", "torch"), ("label", "bare"))
        ]
        variant = {"VariantName": "AllTraffic", "ModelName": NAME}
        resources.create_model(NAME, Containers=containers, InferenceExecutionConfig={"Mode": "Serial"})
        resources.create_endpoint_config(NAME, ProductionVariants=[variant | CAPACITY])
        resources.create_endpoint(NAME, NAME)

    def invoke(self, rows: str) -> Any:
        """Send measurements as CSV, and return the last container's response."""
        response = self._account.runtime.invoke_endpoint(
            EndpointName=NAME, ContentType="text/csv", Accept="application/json", Body=rows
        )
        return json.loads(response["Body"].read())


def main(arguments: Sequence[str] | None = None) -> int:
    options = argument_parser("inference_pipeline", __doc__).parse_args(arguments)
    account = Account(options.image, options.role)
    pipeline = Pipeline(account)
    rows = ["5.1,3.5,1.4,0.2", "6.0,2.7,4.5,1.5", "6.5,3.0,5.8,2.2"]
    with tempfile.TemporaryDirectory(prefix="polyhost-example-") as folder, Resources(account) as resources:
        train(Path(folder))
        pipeline.create(resources, Path(folder))
        for row, answer in zip(rows, pipeline.invoke("\n".join(rows)), strict=True):
            print(f"{row} -> {answer['species']} ({answer['score']:.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
