"""Copies of one archive have one fingerprint, whatever their code has written into their folders."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from polyhost.container.memory import fingerprints
from polyhost.container.memory.fingerprints import Fingerprint, Fingerprints

FILES = {"model.joblib": b"weights", "code/inference.py": b"import helper", "code/lib/helper.py": b"", ".hidden": b"1"}


def unpack(folder: Path, **files: bytes) -> Path:
    for name, content in {**FILES, **files}.items():
        write(folder / name, content)
    return folder


def write(path: Path, content: bytes = b"written by the model") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def let_time_pass(folder: Path) -> None:
    """Wait for the kernel's clock for files, which goes on in steps of some milliseconds."""
    with tempfile.NamedTemporaryFile(dir=folder.parent) as file:
        start = Path(file.name).stat().st_ctime_ns
        while Path(file.name).stat().st_ctime_ns == start:
            Path(file.name).chmod(0o600)


def of(folder: Path, known: Fingerprints | None = None, framework: str = "sklearn") -> Fingerprint:
    return (known or Fingerprints(None)).of(framework, folder)


def bytecode(folder: Path) -> None:
    write(folder / "code/__pycache__/inference.cpython-311.pyc")
    write(folder / "code/lib/helper.pyc")


def cache(folder: Path) -> None:
    write(folder / ".cache/huggingface/blobs/abc")


def download(folder: Path) -> None:
    write(folder / "weights/model.bin", b"x" * 100_000)
    os.utime(folder / "weights/model.bin", (1, 1))  # as tar and zip do when they unpack


def log(folder: Path) -> None:
    write(folder / "a.log")


WRITES = [bytecode, cache, download, log]


def test_the_size_is_that_of_all_files(tmp_path: Path) -> None:
    assert of(unpack(tmp_path / "a")).size == sum(map(len, FILES.values()))


def test_a_copy_under_another_name(tmp_path: Path) -> None:
    assert of(unpack(tmp_path / "a")) == of(unpack(tmp_path / "b" / "model"))


@pytest.mark.parametrize(
    "files", [{"model.joblib": b"other weights"}, {"code/more.py": b""}, {"lib/helper.py": b""}, {".hidden": b"12"}]
)
def test_another_archive(tmp_path: Path, files: dict[str, bytes]) -> None:
    assert of(unpack(tmp_path / "a")).key != of(unpack(tmp_path / "b", **files)).key


def test_another_framework(tmp_path: Path) -> None:
    assert of(unpack(tmp_path / "a")).key != of(unpack(tmp_path / "b"), framework="torch").key


def test_bytecode_never_counts(tmp_path: Path) -> None:
    used = unpack(tmp_path / "a")
    bytecode(used)
    copy = shutil.copytree(used, tmp_path / "b")

    assert of(copy) == of(unpack(tmp_path / "c"))


@pytest.mark.parametrize("model_writes", WRITES)
def test_a_second_load_of_the_same_folder(tmp_path: Path, model_writes: Callable[[Path], None]) -> None:
    known = Fingerprints(None)
    folder = unpack(tmp_path / "a")
    first = of(folder, known)
    for _ in range(3):
        let_time_pass(folder)
        model_writes(folder)
        assert of(folder, known) == first
    assert of(unpack(tmp_path / "b"), known) == first


@pytest.mark.parametrize("model_writes", WRITES)
def test_a_load_after_a_restart(tmp_path: Path, model_writes: Callable[[Path], None]) -> None:
    file, folder = tmp_path / "state" / "fingerprints.json", unpack(tmp_path / "a")
    known = Fingerprints(file)
    first = of(folder, known)
    known.save()
    let_time_pass(folder)
    model_writes(folder)

    assert of(folder, Fingerprints(file)) == first


def test_the_same_folder_by_a_link(tmp_path: Path) -> None:
    known, folder = Fingerprints(None), unpack(tmp_path / "a")
    (tmp_path / "link").symlink_to(folder)
    first = of(folder, known)
    let_time_pass(folder)
    cache(folder)

    assert of(tmp_path / "link", known) == first


def test_another_archive_in_the_same_folder(tmp_path: Path) -> None:
    known, folder = Fingerprints(None), unpack(tmp_path / "a")
    first = of(folder, known)
    let_time_pass(folder)
    cache(folder)
    shutil.rmtree(folder)
    let_time_pass(folder)
    unpack(folder, **{"model.joblib": b"the next version"})
    second = of(folder, known)
    let_time_pass(folder)
    cache(folder)

    assert second.key != first.key
    assert of(folder, known) == second


def test_the_same_archive_again_in_the_same_folder(tmp_path: Path) -> None:
    known, folder = Fingerprints(None), unpack(tmp_path / "a")
    first = of(folder, known)
    let_time_pass(folder)
    cache(folder)
    shutil.rmtree(folder)
    let_time_pass(folder)

    assert of(unpack(folder), known) == first


def test_links_count_as_what_they_lead_to(tmp_path: Path) -> None:
    folder = unpack(tmp_path / "a")
    (folder / "best.joblib").symlink_to("model.joblib")
    (folder / "lost").symlink_to("nowhere")
    (folder / "circle").symlink_to(folder)

    assert of(folder).size == sum(map(len, FILES.values())) + len(FILES["model.joblib"])


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    unpack(tmp_path / "a")
    (tmp_path / "a" / os.fsdecode(b"caf\xe9")).touch()

    assert of(tmp_path / "a").key != of(unpack(tmp_path / "b")).key


def test_of_many_files_those_of_the_first_folders_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "MAX_FILES", 10)
    for folder in (tmp_path / "a", tmp_path / "b"):
        unpack(folder)
        for number in range(50):
            (folder / "code" / "lib" / f"{number}-{folder.name}").touch()

    assert of(tmp_path / "a") == of(tmp_path / "b")
    assert of(tmp_path / "a").size == len(FILES["model.joblib"] + FILES["code/inference.py"] + FILES[".hidden"])


@pytest.mark.parametrize("text", ["", "[]", '{"/a": 1}', '{"/a": ["key", "late"]}', "null"])
def test_a_malformed_file_counts_as_empty(tmp_path: Path, text: str) -> None:
    file = tmp_path / "fingerprints.json"
    file.write_text(text)
    known = Fingerprints(file)
    of(unpack(tmp_path / "a"), known)
    known.save()

    assert str(tmp_path / "a") in file.read_text()
