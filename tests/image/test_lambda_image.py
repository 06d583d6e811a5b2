"""The image of deploy/lambda as a function of the emulator, which runs it in a container of the engine."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import joblib
import pytest
from sklearn.linear_model import LogisticRegression

from tests.emulator.conftest import REGION
from tests.emulator.functions.harness import ROLE, ClientsOf, Lambda
from tests.image.engine import BUILD_SECONDS, built, docker, inspect, run
from tests.integration.test_emulator import running

pytestmark = [pytest.mark.image, pytest.mark.timeout(BUILD_SECONDS)]

EVENT = {"TargetModel": "classify.tar.gz", "Body": [[0.0], [3.0]]}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model archive that predicts 1 from 2 on."""
    folder = tmp_path_factory.mktemp("archive")
    joblib.dump(LogisticRegression(C=100).fit([[0.0], [1.0], [3.0], [4.0]], [0, 0, 1, 1]), folder / "model.joblib")
    with tarfile.open(folder / "classify.tar.gz", "w:gz") as tar:
        tar.add(folder / "model.joblib", "model.joblib")
    return folder / "classify.tar.gz"


@pytest.fixture(scope="module")
def functions(lambda_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lambda]:
    with running(tmp_path_factory.mktemp("emulator"), "--driver", "docker") as local:
        yield Lambda(ClientsOf(local.url))


def create(functions: Lambda, name: str, image: str, **variables: str) -> None:
    functions.client.create_function(
        FunctionName=name,
        PackageType="Image",
        Code={"ImageUri": image},
        Role=ROLE,
        Timeout=300,
        MemorySize=1024,
        Environment={"Variables": variables},
    )


def test_archives_of_a_prefix_in_s3(functions: Lambda, lambda_image: str, archive: Path) -> None:
    s3 = functions.emulator.client("s3", REGION)
    s3.create_bucket(Bucket="lambda-image", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="lambda-image", Key="models/classify.tar.gz", Body=archive.read_bytes())
    create(functions, "from-s3", lambda_image, POLYHOST_MODEL_STORE="s3://lambda-image/models/")
    for _ in range(2):
        answer = functions.returned("from-s3", EVENT)
        assert (answer["StatusCode"], json.loads(answer["Body"])) == (200, [0, 1])
    failed = functions.invoke("from-s3", {"TargetModel": "missing.tar.gz", "Body": []})
    assert failed["FunctionError"] == "Unhandled" and "missing.tar.gz" in failed["Payload"]["errorMessage"]


def test_an_archive_that_is_baked_in(
    functions: Lambda, lambda_image: str, archive: Path, unique_tag: str, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(
        f"FROM {lambda_image}\nCOPY classify.tar.gz /opt/models/\nENV POLYHOST_MODEL_STORE=/opt/models"
        " POLYHOST_LOAD_AT_START=classify.tar.gz\n"
    )
    (tmp_path / "classify.tar.gz").write_bytes(archive.read_bytes())
    (tmp_path / "classify.tar.gz").chmod(0o644)
    with built(f"polyhost-lambda-baked:{unique_tag}", tmp_path) as image:
        create(functions, "baked-in", image)
        # No model is named: the one that is loaded at the start gets the request.
        answer = functions.returned("baked-in", {"Body": [[0.0], [3.0]]})
        assert (answer["StatusCode"], json.loads(answer["Body"])) == (200, [0, 1])
        functions.client.delete_function(FunctionName="baked-in")


def test_without_a_store_the_error_says_what_to_set(functions: Lambda, lambda_image: str) -> None:
    create(functions, "no-store", lambda_image)
    failed = functions.invoke("no-store", EVENT)
    assert "POLYHOST_MODEL_STORE is not set" in failed["Payload"]["errorMessage"]


def test_the_image_has_what_a_function_needs_and_no_more(lambda_image: str) -> None:
    labels = inspect(lambda_image)["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "polyhost-lambda"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    found = run(
        lambda_image,
        "-c",
        "ls /opt/polyhost/polyhost-*.dist-info/licenses; find / -xdev -name '*.jar'; command -v java pip",
        options=("--entrypoint=sh",),
    )
    assert found.stdout.split() == ["LICENSE", "NOTICE"]


def test_what_the_base_image_does_not_have_is_small(lambda_image: str) -> None:
    base = int(docker("image", "inspect", "--format={{.Size}}", "debian:bookworm-slim").stdout)
    assert int(docker("image", "inspect", "--format={{.Size}}", lambda_image).stdout) - base < 420e6
