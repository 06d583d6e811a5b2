"""Archives from strangers: nothing may be written outside the model's folder."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from polyhost.emulator.errors import ArchiveError
from polyhost.emulator.hosting.archives import unpack
from tests.emulator.archives import packed

LIMIT = 1 << 20


def _tar(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def _member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, target, size
    return member


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "there" / "model"
    made.mkdir(parents=True)
    return made


def test_files_folders_and_links_inside_are_unpacked(tmp_path: Path, folder: Path) -> None:
    archive = _tar(
        tmp_path / "a.tar.gz",
        _member("./", tarfile.DIRTYPE),
        _member("./code/inference.py", size=3),
        _member("latest", tarfile.SYMTYPE, "code/inference.py"),
        _member("same", tarfile.LNKTYPE, "code/inference.py"),
    )
    assert unpack(archive, folder, LIMIT) == 3
    for name in ("code/inference.py", "latest", "same"):
        assert (folder / name).read_bytes() == b"xxx"


@pytest.mark.parametrize(
    "members",
    [
        [_member("../escape", size=1)],
        [_member("a/../../escape", size=1)],
        [_member("/tmp/polyhost-escape", size=1)],
        [_member("out", tarfile.SYMTYPE, "../..")],
        [_member("out", tarfile.SYMTYPE, "/etc")],
        [_member("out", tarfile.LNKTYPE, "../../a.tar.gz")],
        [_member("here", tarfile.SYMTYPE, "."), _member("here/../../escape", size=1)],
        [_member("null", tarfile.CHRTYPE)],
        [_member("pipe", tarfile.FIFOTYPE)],
    ],
)
def test_what_would_get_out_is_refused_and_named(tmp_path: Path, folder: Path, members: list[tarfile.TarInfo]) -> None:
    archive = _tar(tmp_path / "a.tar.gz", *members)
    with pytest.raises(ArchiveError, match=repr(members[-1].name)):
        unpack(archive, folder, LIMIT)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["a.tar.gz"]


def test_links_in_a_circle_and_names_that_no_file_has_are_refused(tmp_path: Path, folder: Path) -> None:
    circle = [_member("a", tarfile.SYMTYPE, "b"), _member("b", tarfile.SYMTYPE, "a"), _member("a/file", size=1)]
    named = _member("plain", size=1)
    named.pax_headers = {"path": "nu\0l"}
    for number, members in enumerate((circle, [named])):
        archive = _tar(tmp_path / f"{number}.tar.gz", *members)
        with pytest.raises(ArchiveError, match="do not fit together"):
            unpack(archive, folder, LIMIT)


def test_an_archive_that_grows_too_large_is_stopped(tmp_path: Path, folder: Path) -> None:
    archive = _tar(tmp_path / "a.tar.gz", _member("zeros", size=LIMIT + 1))
    with pytest.raises(ArchiveError, match="larger than"):
        unpack(archive, folder, LIMIT)


@pytest.mark.parametrize("spoil", [lambda data: b"PK" + data, lambda data: data[:-30], lambda data: b""])
def test_no_whole_archive(tmp_path: Path, folder: Path, spoil: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(spoil(packed({"a": bytes(range(256)) * 40})))
    with pytest.raises(ArchiveError, match="not a complete gzip-compressed tar"):
        unpack(path, folder, LIMIT)
