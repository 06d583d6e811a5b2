"""The image, built once for all tests; they are skipped, with the reason, if there is no container engine."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import joblib
import pytest
from sklearn.linear_model import LogisticRegression

from tests.image.engine import REPOSITORY, built, missing_engine

MODEL_NAME = "2f7ab3c94d61"


@pytest.fixture(scope="session")
def unique_tag() -> str:
    """Return a tag that no other test run uses."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def engine() -> None:
    """Skip the test if there is no container engine."""
    reason = missing_engine()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def image(engine: None, unique_tag: str) -> Iterator[str]:
    """Build the image with all frameworks, and return its name."""
    with built(f"polyhost:{unique_tag}") as name:
        yield name


@pytest.fixture(scope="session")
def sklearn_image(engine: None, unique_tag: str) -> Iterator[str]:
    """Build the image with scikit-learn only, and return its name."""
    with built(f"polyhost-sklearn:{unique_tag}", REPOSITORY, "--build-arg=FRAMEWORKS=sklearn") as name:
        yield name


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder to mount at /opt/ml/models. Its one model, under an opaque name, predicts 1 from 2 on."""
    root = tmp_path_factory.mktemp("models")
    folder = root / MODEL_NAME / "model"
    folder.mkdir(parents=True)
    joblib.dump(LogisticRegression(C=100).fit([[0.0], [1.0], [3.0], [4.0]], [0, 0, 1, 1]), folder / "model.joblib")
    return root


@pytest.fixture(scope="session")
def lambda_image(engine: None, unique_tag: str) -> Iterator[str]:
    """Build the image of deploy/lambda with scikit-learn, and return its name."""
    options = (f"--file={REPOSITORY / 'deploy' / 'lambda' / 'Dockerfile'}", "--build-arg=FRAMEWORKS=sklearn")
    with built(f"polyhost-lambda:{unique_tag}", REPOSITORY, *options) as name:
        yield name
