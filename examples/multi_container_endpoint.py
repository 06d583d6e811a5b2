"""A multi-container endpoint with direct invocation: two frameworks on the same instances, each called by its name.

One task, a model of scikit-learn and one of PyTorch: to compare them, or because neither alone fills an instance. The
environment alone decides where it runs. Here, offline, with `polyhost emulator` in another shell:

    eval "$(polyhost emulator env)"
    python -m examples.multi_container_endpoint

On AWS: credentials, a region, images in ECR, `--image` and `--role ARN`.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from examples.account import CAPACITY, Account, Resources, argument_parser

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
    """An endpoint of two containers. The model, the endpoint configuration and the endpoint have one name."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def create(self, resources: Resources, folder: Path) -> None:
        """Create the endpoint from the contents of its archives, and return when it is in service."""
        containers = [
            {
                "ContainerHostname": name,
                "Image": self._account.image,  # they may have different ones
                "ModelDataUrl": self._account.upload_archive(folder / name, NAME),
                "Environment": {"POLYHOST_FRONTEND": "native", "POLYHOST_ZYGOTES": name},
            }
            for name in CONTAINERS
        ]
        variant = {"VariantName": "AllTraffic", "ModelName": NAME}
        resources.create_model(NAME, Containers=containers, InferenceExecutionConfig={"Mode": "Direct"})
        resources.create_endpoint_config(NAME, ProductionVariants=[variant | CAPACITY])
        resources.create_endpoint(NAME, NAME)

    def invoke(self, container: str, rows: Any) -> Any:
        """Return one container's response."""
        response = self._account.runtime.invoke_endpoint(
            EndpointName=NAME,
            TargetContainerHostname=container,
            ContentType="application/json",
            Accept="application/json",
            Body=json.dumps(rows.tolist()),
        )
        return json.loads(response["Body"].read())


def main(arguments: Sequence[str] | None = None) -> int:
    options = argument_parser("multi_container_endpoint", __doc__).parse_args(arguments)
    account = Account(options.image, options.role)
    endpoint = Endpoint(account)
    with tempfile.TemporaryDirectory(prefix="polyhost-example-") as folder, Resources(account) as resources:
        unseen, expected = train(Path(folder))
        endpoint.create(resources, Path(folder))
        classes = endpoint.invoke("sklearn", unseen)
        scores = endpoint.invoke("torch", unseen / 16)
    for name, found in (("sklearn", classes), ("torch", [row.index(max(row)) for row in scores])):
        right = sum(one == other for one, other in zip(found, expected.tolist(), strict=True))
        print(f"{name}: {right} of {len(expected)} digits recognised")
    return 0


if __name__ == "__main__":
    sys.exit(main())
