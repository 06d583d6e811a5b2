"""How much memory a model will need: a guess before its first load, a measurement afterwards."""

import json
from pathlib import Path

import pytest

from polyhost.container.memory.estimates import Estimates
from polyhost.container.memory.fingerprints import Fingerprint, Fingerprints

MB = 1024 * 1024


@pytest.fixture
def model(tmp_path: Path) -> Fingerprint:
    return make_model(tmp_path / "one", 10 * MB)


def make_model(directory: Path, size: int, name: str = "model.bin", framework: str = "torch") -> Fingerprint:
    (directory / "code").mkdir(parents=True)
    (directory / "code" / "inference.py").write_text("x" * 100)
    with (directory / name).open("wb") as file:
        file.truncate(size)
    return Fingerprints(None).of(framework, directory)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "estimates.json"


def test_an_unknown_model_is_guessed_by_the_size_of_its_files(tmp_path: Path, file: Path) -> None:
    estimates = Estimates(file)
    models = {
        (framework, size): make_model(tmp_path / f"{framework}{size}", size * MB, framework=framework)
        for framework in ("torch", "sklearn")
        for size in (10, 20)
    }
    needs = {key: estimates.need(model) for key, model in models.items()}

    assert needs["torch", 10] > 10 * MB
    assert needs["torch", 20] - needs["torch", 10] == 20 * MB
    assert needs["sklearn", 20] - needs["sklearn", 10] == 30 * MB
    assert estimates.need(Fingerprints(None).of("bare", tmp_path / "missing")) > 0


def test_a_measured_model_is_recognised_by_framework_and_files_in_any_folder(
    model: Fingerprint, tmp_path: Path, file: Path
) -> None:
    estimates = Estimates(file)
    estimates.add(model, 77 * MB)

    assert estimates.need(make_model(tmp_path / "copy", 10 * MB)) == 77 * MB
    assert estimates.need(make_model(tmp_path / "other", 10 * MB, framework="sklearn")) != 77 * MB
    assert estimates.need(make_model(tmp_path / "renamed", 10 * MB, "other.bin")) != 77 * MB


def test_the_largest_measurement_counts(model: Fingerprint, file: Path) -> None:
    estimates = Estimates(file)
    for measured in (30 * MB, 50 * MB, 40 * MB):
        estimates.add(model, measured)

    assert estimates.need(model) == 50 * MB


def test_a_model_is_settled_after_eight_copies_of_it(model: Fingerprint, file: Path, tmp_path: Path) -> None:
    estimates = Estimates(file)
    estimates.add(model, 77 * MB)
    assert not estimates.settled(model)
    for _ in range(7):
        estimates.add(model, 77 * MB)

    assert estimates.settled(make_model(tmp_path / "copy", 10 * MB))
    assert not estimates.settled(make_model(tmp_path / "other", 11 * MB))
    assert not Estimates(file).settled(model)


def test_measurements_survive_a_restart(model: Fingerprint, file: Path) -> None:
    estimates = Estimates(file)
    estimates.add(model, 77 * MB)
    estimates.save()

    assert Estimates(file).need(model) == 77 * MB
    assert [path.name for path in file.parent.iterdir()] == ["estimates.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": "much"}', "null", '{"a": null}'])
def test_a_malformed_file_counts_as_empty(model: Fingerprint, file: Path, text: str) -> None:
    file.parent.mkdir()
    file.write_text(text)
    estimates = Estimates(file)
    estimates.add(model, 77 * MB)
    estimates.save()

    assert list(json.loads(file.read_text()).values()) == [77 * MB]


def test_a_place_that_cannot_be_written_is_logged_once(
    model: Fingerprint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    estimates = Estimates(tmp_path / "file" / "estimates.json")
    for measured in (1 * MB, 2 * MB):
        estimates.add(model, measured)
        estimates.save()

    assert len(caplog.records) == 1
    assert str(tmp_path / "file") in caplog.text
    assert estimates.need(model) == 2 * MB
