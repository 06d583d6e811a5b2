"""Temp folders are measured by a process, all of them again and again, and those above the limit are reported."""

import os
from pathlib import Path

from polyhost.container.control_protocol import ModelRef
from polyhost.container.forkserver.records import HostedModel
from polyhost.container.forkserver.temp_folders import TempFolders
from tests.support.waiting import wait_for

LIMIT = 1 << 20


def hosted(folder: Path, key: int, size: int) -> HostedModel:
    temp_dir = folder / f"model-{key}"
    (temp_dir / ".home").mkdir(parents=True)
    (temp_dir / ".home" / "cache").write_bytes(os.urandom(size))
    ref = ModelRef(f"model-{key}", str(folder), "")
    return HostedModel(key=key, ref=ref, temp_dir=temp_dir, response_timeout_s=60, framework="bare")


def test_each_folder_above_the_limit_is_reported(tmp_path: Path) -> None:
    sizes = {1: 2 * LIMIT, 2: LIMIT // 2, 3: 3 * LIMIT}
    models = {key: hosted(tmp_path, key, size) for key, size in sizes.items()}
    with (tmp_path / "model-2" / "sparse").open("wb") as file:
        file.truncate(100 * LIMIT)  # no block on the disk
    found: dict[int, int] = {}
    folders = TempFolders(LIMIT, models, lambda model, size: found.update({model.key: size}))

    def are_found() -> bool:
        folders.check()
        return found.keys() >= {1, 3}

    wait_for(are_found, "two reports")
    assert found.keys() == {1, 3}
    assert 2 * LIMIT <= found[1] < 3 * LIMIT <= found[3] < 4 * LIMIT


def test_one_that_is_gone_keeps_no_other_from_being_reported(tmp_path: Path) -> None:
    models = {key: hosted(tmp_path, key, 2 * LIMIT) for key in (1, 2)}
    models[1].temp_dir.rename(tmp_path / "elsewhere")
    found: list[int] = []
    folders = TempFolders(LIMIT, models, lambda model, size: found.append(model.key))

    def is_found() -> bool:
        folders.check()
        return bool(found)

    wait_for(is_found, "a report")
    assert found == [2]


def test_nothing_is_measured_without_a_limit(tmp_path: Path) -> None:
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before = set(children.read_text().split())
    models = {1: hosted(tmp_path, 1, LIMIT)}
    folders = TempFolders(None, models, lambda model, size: None)
    folders.check()

    assert set(children.read_text().split()) <= before
