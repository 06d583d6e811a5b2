"""What a hostile model shares with the container, in the image: what tests/hostile/channels tries, in a real container.

As root and as a plain user without isolation, which has no part in it, and in the strict mode.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.channels import test_environment, test_log, test_management
from tests.hostile.channels.parties import ATTACKER, VICTIM, environ, write_model
from tests.image.engine import BUILD_SECONDS, ImageContainer, serving

pytestmark = [pytest.mark.image, pytest.mark.timeout(BUILD_SECONDS)]

OPTIONS = {
    "root": ("--env=POLYHOST_ISOLATION=off",),
    "user": ("--env=POLYHOST_ISOLATION=off", "--user=1000:1000"),
    "strict": ("--env=POLYHOST_ISOLATION=strict",),
}


@dataclass(frozen=True)
class ImageParties:
    """A container of the image with a victim and an attacker."""

    container: ImageContainer
    models_dir: Path  # on this machine
    native: bool
    strict: bool
    port: int = 8080

    def attack(self, code: str) -> str:
        """Run the code in the attacker's worker; return what it has assigned to `result`."""
        response = self.container.client.invoke("attacker", code, "text/plain")
        assert response.status_code == 200, response.text
        return response.text

    def make(self, name: str, source: str) -> str:
        """Write one more model, to be loaded under this name."""
        write_model(self.models_dir / name / "model", source)
        return name

    def folder(self, name: str) -> Path:
        """Return a model's directory in the container."""
        return Path("/opt/ml/models") / name / "model"

    def names(self) -> list[str]:
        """Return the names of the loaded models."""
        return self.container.models()

    def log_text(self) -> str:
        """Return the whole log."""
        return self.container.logs

    def events(self, **fields: Any) -> list[dict[str, Any]]:
        """Return the log's events that have these fields."""
        parsed = [json.loads(line) for line in self.log_text().split("\n") if line]
        return [event for event in parsed if all(event.get(name) == value for name, value in fields.items())]


@pytest.fixture(scope="module", params=list(OPTIONS))
def parties(
    request: pytest.FixtureRequest, front: str, sklearn_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ImageParties]:
    models = tmp_path_factory.mktemp("models")
    models.chmod(0o755)  # a folder that pytest makes is for its owner alone
    settings = {"SAGEMAKER_MULTI_MODEL": "true", "POLYHOST_FRONTEND": front, "POLYHOST_ZYGOTES": "bare", **environ()}
    options = [*OPTIONS[request.param], *(f"--env={name}={value}" for name, value in settings.items())]
    with serving(sklearn_image, *options, f"--volume={models}:/opt/ml/models:ro") as container:
        started = ImageParties(container, models, native=front == "native", strict=request.param == "strict")
        for name, source in (("victim", VICTIM), ("attacker", ATTACKER)):
            assert container.load(started.make(name, source)).status_code == 200, container.logs
        pid = invoke_victim(container)
        yield started
        assert invoke_victim(container) == pid


def invoke_victim(container: ImageContainer) -> str:
    response = container.client.invoke("victim", "hello", "text/plain")
    assert response.status_code == 200, response.text
    return response.text


def test_forged_events_are_the_attackers_own(parties: ImageParties) -> None:
    test_log.test_forged_events_are_the_attackers_own(parties)


@test_management.WAYS
def test_models_may_not_manage(parties: ImageParties, attack: str) -> None:
    test_management.test_models_may_not_manage(parties, attack)


def test_who_has_vanished_may_not_manage(parties: ImageParties) -> None:
    test_management.test_who_has_vanished_may_not_manage(parties)


def test_models_may_invoke_and_ping(parties: ImageParties) -> None:
    test_management.test_models_may_invoke_and_ping(parties)


def test_withheld_variable_is_nowhere(parties: ImageParties) -> None:
    shown = test_environment.check_that_it_is_nowhere(parties)

    assert shown <= 1 if parties.strict else shown > 3  # at most its own
