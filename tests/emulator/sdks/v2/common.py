"""What the scripts share: a role, an image, and models in the SDK's default bucket."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from sagemaker.deserializers import JSONDeserializer
from sagemaker.model import Model
from sagemaker.predictor import Predictor
from sagemaker.session import Session

from tests.emulator.archives import archive

ROLE = "arn:aws:iam::123456789012:role/test"
IMAGE = "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/small:latest"
INSTANCE = "ml.m5.xlarge"


class JsonPredictor(Predictor):  # type: ignore[misc]  # the SDK is not installed where the types are checked
    """A predictor of the small container, which takes any bytes and returns JSON."""

    def __init__(self, endpoint_name: str, sagemaker_session: Session | None = None) -> None:
        super().__init__(endpoint_name, sagemaker_session, deserializer=JSONDeserializer())


def upload(session: Session, prefix: str, name: str, **settings: Any) -> str:
    """Upload the archive of a model with these settings, and return its address."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{name}.tar.gz")
        path.write_bytes(archive(name, **settings))
        address: str = session.upload_data(str(path), key_prefix=prefix)
    return address


def model(session: Session, name: str, part: str, **members: Any) -> Model:
    """Return a model, called by its endpoint's name and its part there; its responses quote the request."""
    data = upload(session, f"{name}/{part}", part, quotes=True)
    return Model(IMAGE, data, ROLE, JsonPredictor, name=f"{name}-{part}", sagemaker_session=session, **members)


def wait(session: Session, endpoint: str) -> None:
    """Wait as `deploy(wait=True)` does, with shorter pauses."""
    session.wait_for_endpoint(endpoint, poll=1)


def wait_until_gone(session: Session, *endpoints: str) -> None:
    for endpoint in endpoints:
        session.sagemaker_client.get_waiter("endpoint_deleted").wait(EndpointName=endpoint)


def error_of(call: Callable[[], object]) -> ClientError:
    """Return the error that the call ends with."""
    try:
        call()
    except ClientError as error:
        return error
    raise AssertionError("there was no error")
