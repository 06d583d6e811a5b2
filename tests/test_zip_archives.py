"""Zip archives: what is unpacked, and what is rejected with nothing written outside."""

import stat
import zipfile
from pathlib import Path

import pytest

from polyhost.archives import ArchiveKind, InvalidArchiveError, unpack

LIMIT = 1 << 20


def extracted(archive: Path, folder: Path, limit_bytes: int = LIMIT) -> int:
    folder.mkdir(exist_ok=True)
    return unpack(archive, folder, limit_bytes, ArchiveKind.ZIP)


def zip_of(path: Path, members: dict[str, bytes | str], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def special(name: str, kind: int, mode: int = 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3  # Unix
    info.external_attr = (kind | mode) << 16
    return info


def test_files_folders_and_modes_are_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "function.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("app.py", "print()\n")
        archive.writestr("package/", "")
        archive.writestr("package/deep/data.bin", bytes(1000))
        archive.writestr(special("run", stat.S_IFREG, 0o755), "#!/bin/sh\n")
        archive.writestr(special("link.py", stat.S_IFLNK), "app.py")
    folder = tmp_path / "unpacked"
    assert extracted(path, folder) == 8 + 1000 + 10
    assert (folder / "app.py").read_text() == (folder / "link.py").read_text() == "print()\n"
    assert (folder / "package/deep/data.bin").stat().st_size == 1000
    assert (folder / "run").stat().st_mode & 0o111 and not (folder / "app.py").stat().st_mode & 0o111


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside"])
def test_a_member_outside_the_folder_is_rejected(tmp_path: Path, name: str) -> None:
    path = zip_of(tmp_path / "function.zip", {name: b"?"})
    with pytest.raises(InvalidArchiveError, match="outside"):
        extracted(path, tmp_path / "unpacked")
    assert not (tmp_path / "outside").exists()


def test_a_link_to_outside_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "function.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(special("link", stat.S_IFLNK), "../../etc/passwd")
    with pytest.raises(InvalidArchiveError, match="outside"):
        extracted(path, tmp_path / "unpacked")


def test_a_device_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "function.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(special("device", stat.S_IFCHR), "")
    with pytest.raises(InvalidArchiveError, match="neither a file, a folder nor a link"):
        extracted(path, tmp_path / "unpacked")


def test_the_limit_counts_what_is_unpacked(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "function.zip", {"zeros": bytes(LIMIT + 1)})
    assert path.stat().st_size < LIMIT / 100
    with pytest.raises(InvalidArchiveError, match=f"larger than {LIMIT} bytes"):
        extracted(path, tmp_path / "unpacked")


def test_a_size_that_is_not_true_is_rejected(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "function.zip", {"zeros": bytes(100_000)})
    size = (100_000).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, (10).to_bytes(4, "little")))
    with pytest.raises(InvalidArchiveError, match="not a complete zip"):
        extracted(path, tmp_path / "unpacked")


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04" + bytes(100), b"\x1f\x8b"])
def test_what_is_no_zip_is_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "function.zip"
    path.write_bytes(content)
    with pytest.raises(InvalidArchiveError, match="not a complete zip"):
        extracted(path, tmp_path / "unpacked")


def test_a_damaged_member_is_rejected(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "function.zip", {"text": b"0123456789" * 10}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"0123", b"9123", 1))
    with pytest.raises(InvalidArchiveError, match="not a complete zip"):
        extracted(path, tmp_path / "unpacked")
