"""Packing and unpacking of archives."""

import os
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from polyhost.cli import archive
from polyhost.cli.archive import ArchiveError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "churn"
    (folder / "code").mkdir(parents=True)
    (folder / "model.joblib").write_bytes(b"weights")
    (folder / "code" / "inference.py").write_text("def model_fn(model_dir): ...\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o700)
    return folder


def written(path: Path, member: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(member)
    return path


def test_packed_files_are_at_the_root_in_a_fixed_order(folder: Path, tmp_path: Path) -> None:
    names = archive.pack(folder, tmp_path / "model.tar.gz")
    with tarfile.open(tmp_path / "model.tar.gz") as tar:
        found = tar.getmembers()
    assert [entry.name for entry in found] == ["./code", "./code/inference.py", "./model.joblib", "./run.sh"]
    assert names == [entry.name.removeprefix("./") for entry in found]
    assert {(entry.uid, entry.gid, entry.uname, entry.mtime) for entry in found} == {(0, 0, "", 0)}
    assert [oct(entry.mode) for entry in found] == ["0o755", "0o644", "0o644", "0o755"]


def test_the_same_files_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    archive.pack(folder, tmp_path / "one.tar.gz")
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "inference.cpython-311.pyc").write_bytes(os.urandom(8))
    archive.pack(folder, tmp_path / "other.tar.gz")
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "other.tar.gz").read_bytes()
    # RFC 1952: no flags (so no file name), and four bytes of time.
    assert (tmp_path / "one.tar.gz").read_bytes()[3:8] == bytes(5)


def test_unpack_restores_what_pack_wrote(folder: Path, tmp_path: Path) -> None:
    archive.pack(folder, tmp_path / "model.tar.gz")
    target = tmp_path / "unpacked"
    target.mkdir()
    archive.unpack(tmp_path / "model.tar.gz", target)
    assert (target / "model.joblib").read_bytes() == b"weights"
    assert (target / "code" / "inference.py").read_text() == "def model_fn(model_dir): ...\n"
    assert os.access(target / "run.sh", os.X_OK)


def test_hard_links_are_packed_as_files(folder: Path, tmp_path: Path) -> None:
    (folder / "twin.joblib").hardlink_to(folder / "model.joblib")
    archive.pack(folder, tmp_path / "model.tar.gz")
    with tarfile.open(tmp_path / "model.tar.gz") as tar:
        assert tar.getmember("./twin.joblib").isfile()


def test_a_symbolic_link_is_rejected_and_nothing_is_left(folder: Path, tmp_path: Path) -> None:
    (folder / "zz-link").symlink_to(folder / "model.joblib")
    with pytest.raises(ArchiveError, match=r"churn/zz-link is a symbolic link.*put the file itself there"):
        archive.pack(folder, tmp_path / "model.tar.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["churn"]


@pytest.mark.parametrize("kind", ["fifo", "socket"])
def test_special_files_are_rejected(folder: Path, tmp_path: Path, kind: str) -> None:
    if kind == "fifo":
        os.mkfifo(folder / "odd")
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(folder / "odd"))
    with pytest.raises(ArchiveError, match=r"churn/odd is neither a file nor a folder; remove it"):
        archive.pack(folder, tmp_path / "model.tar.gz")


@pytest.mark.parametrize("name", [b"tab\t.bin", b"latin-\xe9.bin"])
def test_an_unprintable_name_is_rejected(folder: Path, tmp_path: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"")
    with pytest.raises(ArchiveError, match="unprintable name"):
        archive.pack(folder, tmp_path / "model.tar.gz")


def test_an_archive_inside_its_own_folder_is_rejected(folder: Path) -> None:
    with pytest.raises(ArchiveError, match="lies inside"):
        archive.pack(folder, folder / "model.tar.gz")


def test_a_missing_target_folder_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"nowhere.*No such file or directory"):
        archive.pack(folder, tmp_path / "nowhere" / "model.tar.gz")


@pytest.mark.parametrize("spoil", [lambda whole: whole[:-30], lambda whole: b"PK\x03\x04 a zip"])
def test_a_damaged_archive_is_rejected_with_a_remedy(
    folder: Path, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    archive.pack(folder, tmp_path / "model.tar.gz")
    (tmp_path / "bad.tar.gz").write_bytes(spoil((tmp_path / "model.tar.gz").read_bytes()))
    with pytest.raises(ArchiveError, match=r"bad\.tar\.gz: not a complete gzip-compressed tar.*polyhost pack"):
        archive.unpack(tmp_path / "bad.tar.gz", tmp_path)


def test_an_unsafe_archive_is_rejected_with_its_name(tmp_path: Path) -> None:
    path = written(tmp_path / "model.tar.gz", tarfile.TarInfo("../x"))
    with pytest.raises(ArchiveError, match=r"model\.tar\.gz: member '\.\./x' would be written outside"):
        archive.unpack(path, tmp_path)


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"gone\.tar\.gz: No such file or directory"):
        archive.unpack(tmp_path / "gone.tar.gz", tmp_path)
