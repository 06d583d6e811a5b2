"""An emulator that hosts small containers, shared by all tests; each test uses names of its own."""

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.server import Emulator
from tests.emulator.archives import archive

if TYPE_CHECKING:
    from tests.emulator.batch_transform.harness import Batch

REGION = "ap-northeast-2"
COMMAND = (sys.executable, str(Path(__file__).with_name("small_container.py")))
ROLE = "arn:aws:iam::123456789012:role/test"


class AnyEmulator(Protocol):
    """An emulator in this process or in another one."""

    url: str

    def client(self, service: str, region: str) -> Any:
        """Return a client of boto3."""


@dataclass
class Local:
    """An emulator, clients of it, and what most tests do with them."""

    emulator: AnyEmulator
    s3: Any = field(init=False)
    sagemaker: Any = field(init=False)
    runtime: Any = field(init=False)

    def __post_init__(self) -> None:
        self.s3, self.sagemaker, self.runtime = (
            self.emulator.client(service, REGION) for service in ("s3", "sagemaker", "sagemaker-runtime")
        )
        with suppress(self.s3.exceptions.BucketAlreadyOwnedByYou):  # emulators in one process share moto's S3
            self.s3.create_bucket(Bucket="models", CreateBucketConfiguration={"LocationConstraint": REGION})

    def upload(self, prefix: str, *names: str, **settings: Any) -> None:
        """Upload archives of models with these settings."""
        for name in names:
            self.s3.put_object(Bucket="models", Key=f"{prefix}/{name}.tar.gz", Body=archive(name, **settings))

    def model(self, name: str, multi_model: bool = True, **members: Any) -> None:
        url = f"s3://models/{name}/" + ("" if multi_model else "model.tar.gz")
        container = {"Image": "small", "Mode": "MultiModel" if multi_model else "SingleModel", "ModelDataUrl": url}
        self.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container | members)

    def config(self, name: str, count: int = 1, model: str | None = None, **members: Any) -> None:
        variant = {"VariantName": "AllTraffic", "ModelName": model or name, "InstanceType": "ml.m5.xlarge"}
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=[variant | {"InitialInstanceCount": count} | members]
        )

    def host(self, name: str, count: int = 1, multi_model: bool = True, **container: Any) -> None:
        """Create an endpoint, with a model and a configuration of the same name, and wait until it is in service."""
        self.model(name, multi_model, **container)
        self.config(name, count)
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        self.wait(name)

    def delete(self, name: str, *models: str) -> None:
        """Delete an endpoint, its configuration of the same name, and its models; by default one of that name."""
        self.sagemaker.delete_endpoint(EndpointName=name)
        self.wait(name, "endpoint_deleted")
        self.sagemaker.delete_endpoint_config(EndpointConfigName=name)
        for model in models or (name,):
            self.sagemaker.delete_model(ModelName=model)

    def wait(self, name: str, waiter: str = "endpoint_in_service") -> None:
        self.sagemaker.get_waiter(waiter).wait(EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})

    def invoke(self, endpoint: str, model: str | None, **members: Any) -> dict[str, Any]:
        target = {} if model is None else {"TargetModel": f"{model}.tar.gz"}
        response: dict[str, Any] = self.runtime.invoke_endpoint(EndpointName=endpoint, Body=b"?", **target, **members)
        return response


@pytest.fixture(scope="session")
def local() -> Iterator[Local]:
    with Emulator(EmulatorConfig(port=0, command=COMMAND)) as emulator:
        yield Local(emulator)


@pytest.fixture(scope="session")
def hasty() -> Iterator[Local]:
    """Run an emulator whose invocations time out after 4 s instead of a minute."""
    with Emulator(EmulatorConfig(port=0, command=COMMAND, timeout_s=4.0)) as emulator:
        yield Local(emulator)


@pytest.fixture
def hosted(local: Local, request: pytest.FixtureRequest) -> Iterator[Callable[..., str]]:
    """Host endpoints under names of the test's own, and delete them afterwards."""
    made: list[str] = []

    def host(
        *models: str,
        count: int = 1,
        multi_model: bool = True,
        environment: dict[str, str] | None = None,
        settings: dict[str, Any] | None = None,
    ) -> str:
        """Return the endpoint's name. `settings` are those of the model of a single-model endpoint."""
        name = f"t-{abs(hash(request.node.nodeid)):x}-{len(made)}"[:60]
        if multi_model:
            local.upload(name, *models)
        else:
            local.s3.put_object(Bucket="models", Key=f"{name}/model.tar.gz", Body=archive("one", **settings or {}))
        made.append(name)
        local.host(name, count, multi_model, Environment=environment or {})
        return name

    yield host
    for name in made:
        local.sagemaker.delete_endpoint(EndpointName=name)
        local.wait(name, "endpoint_deleted")


@pytest.fixture(scope="session")
def batch() -> Iterator["Batch"]:
    """Run an emulator whose containers are made for batch transform."""
    from tests.emulator.batch_transform.harness import COMMAND as BATCH_COMMAND
    from tests.emulator.batch_transform.harness import Batch

    with Emulator(EmulatorConfig(port=0, command=BATCH_COMMAND)) as emulator:
        yield Batch(emulator)
