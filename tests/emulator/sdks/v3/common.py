"""What the scripts share: models in the SDK's default bucket, and endpoints that exist during a block."""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.resources import Endpoint, EndpointConfig, Model
from sagemaker.core.shapes import ContainerDefinition, ProductionVariant

from tests.emulator.archives import archive

ROLE = "arn:aws:iam::123456789012:role/test"
IMAGE = "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/small:latest"
INSTANCE = {"instance_type": "ml.m5.xlarge", "initial_instance_count": 1}


def upload(prefix: str, name: str, **settings: Any) -> str:
    """Upload the archive of a model with these settings to the default bucket, and return its address."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{name}.tar.gz")
        path.write_bytes(archive(name, **settings))
        address: str = Session().upload_data(str(path), key_prefix=prefix)
    return address


def container(endpoint: str, name: str, **members: Any) -> ContainerDefinition:
    """Return a container whose responses quote the request."""
    data = upload(f"{endpoint}/{name}", name, quotes=True)
    return ContainerDefinition(image=IMAGE, container_hostname=name, model_data_url=data, **members)


@contextmanager
def model(name: str, *containers: ContainerDefinition, **members: Any) -> Iterator[Model]:
    what = {"containers": list(containers)} if len(containers) > 1 else {"primary_container": containers[0]}
    created = Model.create(model_name=name, execution_role_arn=ROLE, **what, **members)
    yield created
    created.delete()


def variant(model_name: str, **members: Any) -> ProductionVariant:
    return ProductionVariant(variant_name=model_name, model_name=model_name, **members)


@contextmanager
def config(name: str, *variants: ProductionVariant, **members: Any) -> Iterator[EndpointConfig]:
    created = EndpointConfig.create(endpoint_config_name=name, production_variants=list(variants), **members)
    yield created
    created.delete()


@contextmanager
def endpoint(name: str, *variants: ProductionVariant, **members: Any) -> Iterator[Endpoint]:
    """Create an endpoint, and a configuration of the same name; delete both when the block ends."""
    with config(name, *variants, **members):
        created = Endpoint.create(endpoint_name=name, endpoint_config_name=name)
        created.wait_for_status("InService", poll=1)
        yield created
        created.delete()
        created.wait_for_delete(poll=1)


def update(changed: Endpoint, config_name: str) -> None:
    """Give the endpoint another configuration, and wait until that is in service."""
    changed.endpoint_config_name = config_name  # Endpoint.update has no parameter for it
    changed.update()
    changed.wait_for_status("InService", poll=1)


def invoke(on: Endpoint, body: bytes = b"?", **members: Any) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(on.invoke(body=body, **members).body.read())
    return answer


def error_of(call: Callable[[], object]) -> ClientError:
    """Return the error that the call ends with."""
    try:
        call()
    except ClientError as error:
        return error
    raise AssertionError("there was no error")
