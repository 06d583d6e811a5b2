"""What a model was measured to need is known at its next load, whatever its code has written into its folder."""

import json
from pathlib import Path

from tests.support.container import ContainerProcess, running
from tests.support.models import place
from tests.support.waiting import wait_for


def load_invoke_unload(container: ContainerProcess, name: str) -> None:
    container.loaded(name)
    assert container.invoke(name, "[1]").status_code == 200
    container.unload(name)


def test_need_is_kept_across_loads_copies_and_restarts(tmp_path: Path, front: str) -> None:
    state = tmp_path / "state"
    settings = {"POLYHOST_STATE_DIR": str(state), "POLYHOST_ZYGOTES": "bare"}
    with running(tmp_path, front, **settings) as container:
        name = place("writes_into_its_folder", container.models_dir)
        container.loaded(name)
        wait_for((state / "estimates.json").exists, "a measurement")
        container.unload(name)
        for other in (name, name, place("writes_into_its_folder", container.models_dir)):
            load_invoke_unload(container, other)
    with running(tmp_path, front, **settings) as container:
        load_invoke_unload(container, name)

    assert len(list((tmp_path / "ml" / "models" / name / "model").glob("cache-*"))) == 4
    assert len(json.loads((state / "estimates.json").read_text())) == 1
    assert {key for key, _ in json.loads((state / "fingerprints.json").read_text()).values()} == set(
        json.loads((state / "estimates.json").read_text())
    )
