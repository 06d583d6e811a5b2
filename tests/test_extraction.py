"""Archives from strangers: unpacked as `tar` would, with nothing outside the model's folder. Here in this process."""

import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from polyhost import extraction
from polyhost.extraction import InvalidArchiveError

LIMIT = 1 << 20
FILE, FOLDER, LINK, HARD_LINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def unpack(archive: Path, folder: Path, limit_bytes: int) -> int:
    return extraction.extract(str(archive), str(folder), limit_bytes)


def member(name: str, kind: bytes = FILE, target: str = "", size: int = 0, mode: int = 0o644) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size, made.mode = kind, target, size, mode
    return made


def tar_of(*members: tarfile.TarInfo) -> bytes:
    """Return a tar whose files hold the letter x."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for each in members:
            tar.addfile(each, io.BytesIO(b"x" * each.size))
    return content.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "there" / "model"
    made.mkdir(parents=True)
    return made


@pytest.fixture
def unpacked(tmp_path: Path, folder: Path) -> Callable[..., int]:
    """Unpack an archive with these members into the folder."""

    def unpack_members(*members: tarfile.TarInfo, limit: int = LIMIT) -> int:
        archive = tmp_path / "archive"
        archive.write_bytes(gzip.compress(tar_of(*members)))
        return unpack(archive, folder, limit)

    return unpack_members


def files_outside(folder: Path) -> list[str]:
    """List files and links beside the folder, apart from the archive itself."""
    top = folder.parent.parent
    found = [Path(parent, name) for parent, folders, files in os.walk(top) for name in folders + files]
    kept = [path for path in found if path != folder.parent and not path.is_relative_to(folder)]
    return [path.name for path in kept if path.name != "archive"]


def test_files_folders_and_inner_links_are_unpacked(unpacked: Callable[..., int], folder: Path) -> None:
    written = unpacked(
        member("./", FOLDER),
        member("./code/inference.py", size=3),
        member("./empty", FOLDER),
        member("latest", LINK, "code/inference.py"),
        member("code/up", LINK, "../code/./inference.py"),
        member("same", HARD_LINK, "./code/inference.py"),
        member("also", LINK, "code"),
    )
    assert written == 3
    for name in ("code/inference.py", "latest", "code/up", "same", "also/inference.py"):
        assert (folder / name).read_bytes() == b"xxx"
    assert (folder / "empty").is_dir()


def test_only_the_executable_bit_of_a_mode_is_kept(unpacked: Callable[..., int], folder: Path) -> None:
    unpacked(
        member("run", mode=0o6777),
        member("plain", mode=0o7000),
        member("sticky", FOLDER, mode=0o7777),
    )
    assert (folder / "run").stat().st_mode & 0o7777 == 0o755
    assert (folder / "plain").stat().st_mode & 0o7777 == 0o644
    assert (folder / "sticky").stat().st_mode & 0o7022 == 0


def test_the_later_of_two_members_of_one_name_stays(unpacked: Callable[..., int], folder: Path) -> None:
    unpacked(member("a", size=1), member("b", LINK, "a"), member("b", size=2), member("a", size=3))
    assert (folder / "a").read_bytes() == b"xxx"
    assert (folder / "b").read_bytes() == b"xx" and not (folder / "b").is_symlink()


def test_a_member_below_an_inner_link_lands_behind_it(unpacked: Callable[..., int], folder: Path) -> None:
    unpacked(member("deep/er", FOLDER), member("here", LINK, "deep/er"), member("here/file", size=2))
    assert (folder / "deep/er/file").read_bytes() == b"xx"


REJECTED = {
    "up": [member("../escape", size=1)],
    "up, late": [member("a/../../escape", size=1)],
    "up, inside": [member("a/../b", size=1)],  # as `tar` does
    "absolute": [member("/tmp/polyhost-escape", size=1)],
    "link up": [member("out", LINK, "../..")],
    "absolute link": [member("out", LINK, "/etc")],
    "absolute link to inside": [member("out", LINK, "/there/model/a")],
    "hard link up": [member("out", HARD_LINK, "../../archive")],
    "absolute hard link": [member("out", HARD_LINK, "/etc/passwd")],
    "hard link to nothing": [member("out", HARD_LINK, "later")],
    "hard link to itself": [member("a", size=1), member("a", HARD_LINK, "a")],
    "through a link": [member("here", LINK, "."), member("here/../../escape", size=1)],
    "link in a folder behind a link": [
        member("deep/er", FOLDER),
        member("deep/er/up", LINK, "../.."),
        member("deep/er/up/out", LINK, "../../../secret"),
    ],
    "NUL in a link": [member("out", LINK, "a\0b")],
    "link for the folder itself": [member(".", LINK, "a")],
    "device": [member("null", tarfile.CHRTYPE)],
    "block device": [member("disk", tarfile.BLKTYPE)],
    "pipe": [member("pipe", tarfile.FIFOTYPE)],
    "unknown kind": [member("odd", b"Z")],
}


@pytest.mark.parametrize("case", REJECTED)
def test_a_member_that_must_not_be_unpacked_is_named(case: str, unpacked: Callable[..., int], folder: Path) -> None:
    members = [tarfile.TarInfo.frombuf(each.tobuf(), "utf-8", "strict") for each in REJECTED[case]]
    for each, given in zip(members, REJECTED[case], strict=True):
        each.linkname = given.linkname
        each.pax_headers = {"linkpath": given.linkname} if "\0" in given.linkname else {}
    with pytest.raises(InvalidArchiveError, match=repr(members[-1].name)):
        unpacked(*members)
    assert files_outside(folder) == []


def test_a_nul_in_a_name_is_rejected(unpacked: Callable[..., int]) -> None:
    named = member("plain", size=1)
    named.pax_headers = {"path": "nu\0l"}
    with pytest.raises(InvalidArchiveError, match="has a NUL"):
        unpacked(named)


def test_no_chain_of_links_leads_out(unpacked: Callable[..., int], folder: Path) -> None:
    """By name alone `up/..` lies inside; by what `up` points to it would be the folder's parent."""
    unpacked(
        member("a/b", FOLDER),
        member("a/b/up", LINK, "../.."),
        member("a/b/odd", LINK, "up/../x"),
        member("n/odd", LINK, "later/../../x"),
        member("n/later", LINK, ".."),
        member("x", size=1),
    )
    for link in (path for path in folder.rglob("*") if path.is_symlink()):
        assert Path(os.path.realpath(link)).is_relative_to(folder)


def test_a_hard_link_to_a_link_does_not_move_its_target(unpacked: Callable[..., int], folder: Path) -> None:
    unpacked(member("x", size=1), member("a/b/link", LINK, "../../x"), member("same", HARD_LINK, "a/b/link"))
    assert (folder / "same").read_bytes() == b"x"
    assert Path(os.path.realpath(folder / "same")) == folder / "x"


def test_a_link_that_was_there_before_is_not_followed_out(unpacked: Callable[..., int], folder: Path) -> None:
    (folder / "out").symlink_to("..")
    with pytest.raises(InvalidArchiveError, match="outside"):
        unpacked(member("out/escape", size=1))
    assert files_outside(folder) == []


CONTRADICTIONS = {
    "links in a circle": [member("a", LINK, "b"), member("b", LINK, "a"), member("a/file", size=1)],
    "a file below a file": [member("a", size=1), member("a/b", size=1)],
    "a folder over a file": [member("a", size=1), member("a", FOLDER)],
    "a file over a folder": [member("a", FOLDER), member("a", size=1)],
    "a file for the folder itself": [member(".", size=1)],
    "a name of 256 bytes": [member("x" * 256, size=1)],
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_members_that_contradict_each_other_are_rejected(case: str, unpacked: Callable[..., int]) -> None:
    with pytest.raises(InvalidArchiveError, match="contradict"):
        unpacked(*CONTRADICTIONS[case])


def test_the_limit_is_for_all_files_together(unpacked: Callable[..., int], folder: Path) -> None:
    assert unpacked(member("a", size=600), member("b", size=400), limit=1000) == 1000
    with pytest.raises(InvalidArchiveError, match="larger than 999 bytes"):
        unpacked(member("a", size=600), member("b", size=400), limit=999)


def test_a_limit_is_checked_before_a_file_is_written(unpacked: Callable[..., int], folder: Path) -> None:
    with pytest.raises(InvalidArchiveError, match="larger than"):
        unpacked(member("zeros", size=LIMIT + 1))
    assert list(folder.iterdir()) == []


def test_the_number_of_members_is_limited(unpacked: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyhost.extraction.MAX_MEMBERS", 3)
    with pytest.raises(InvalidArchiveError, match="more than 3 members"):
        unpacked(*(member(f"{number}", FOLDER) for number in range(4)))


def test_folders_that_members_imply_are_members(unpacked: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyhost.extraction.MAX_MEMBERS", 5)
    assert unpacked(member("a/b/c/d/e")) == 0
    with pytest.raises(InvalidArchiveError, match="more than 5 members"):
        unpacked(member("other/b/c/d/e/f"))


@pytest.mark.parametrize(
    ("at_the_limit", "beyond"),
    [
        (member("a/" * 63 + "b"), member("a/" * 64 + "b")),
        (member(f"{'n' * 252}/" * 4 + "n" * 12), member(f"{'n' * 252}/" * 4 + "n" * 13)),
        (member("a", LINK, "a/" * 512), member("a", LINK, "a/" * 512 + "b")),
    ],
    ids=["depth", "name", "link"],
)
def test_depth_and_names_are_limited(
    at_the_limit: tarfile.TarInfo, beyond: tarfile.TarInfo, unpacked: Callable[..., int]
) -> None:
    unpacked(at_the_limit)
    with pytest.raises(InvalidArchiveError, match=r"more than (64 folders deep|1024 bytes)"):
        unpacked(beyond)


def test_a_folder_that_is_removed_meanwhile_does_not_come_back(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(whole())
    with pytest.raises(FileNotFoundError):
        unpack(tmp_path / "archive", tmp_path / "gone", LIMIT)
    assert not (tmp_path / "gone").exists()


def test_a_link_that_was_replaced_is_not_followed_any_more(unpacked: Callable[..., int], folder: Path) -> None:
    unpacked(
        member("one", FOLDER), member("two", FOLDER), member("here", LINK, "one"), member("here/a", size=1),
        member("here", LINK, "two"), member("here/b", size=1),
    )  # fmt: skip
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("?")) == ["one/a", "two/b"]


def overlaid(header: tarfile.TarInfo, **fields: bytes) -> bytes:
    """Return a header with fields replaced and its checksum put right."""
    block = bytearray(header.tobuf())
    for name, (start, end) in {"size": (124, 136), "type": (156, 157)}.items():
        if name in fields:
            block[start:end] = fields[name]
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


BOMBS = {
    "a pax header of 8 GiB": overlaid(member("pax"), size=b"77777777777\0", type=tarfile.XHDTYPE),
    "a name of 8 GiB": overlaid(member("name"), size=b"77777777777\0", type=tarfile.GNUTYPE_LONGNAME),
    "a file of negative size": overlaid(member("file"), size=b"\xff" * 12),
    "a pax header of negative size": overlaid(member("pax"), size=b"\xff" * 12, type=tarfile.XHDTYPE),
    "a negative size in a pax header": overlaid(member("pax"), size=b"00000000014\0", type=tarfile.XHDTYPE)
    + b"12 size=-512\n".ljust(512, b"\0"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("case", BOMBS)
def test_headers_made_to_exhaust_the_reader_are_rejected(case: str, tmp_path: Path, folder: Path) -> None:
    (tmp_path / "archive").write_bytes(gzip.compress(BOMBS[case] + tar_of(member("a", size=1))))
    with pytest.raises(InvalidArchiveError):
        unpack(tmp_path / "archive", folder, LIMIT)


def test_endless_padding_is_rejected(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "archive").write_bytes(gzip.compress(tar_of(member("a")) + bytes(100_000)))
    assert unpack(tmp_path / "archive", folder, LIMIT) == 0
    monkeypatch.setattr("polyhost.extraction._MAX_PADDING_BYTES", 99_999)
    with pytest.raises(InvalidArchiveError, match="follow the end"):
        unpack(tmp_path / "archive", folder, LIMIT)


def whole() -> bytes:
    return gzip.compress(tar_of(member("a", size=5000), member("b", size=10)), mtime=0)


@pytest.mark.parametrize("end", [0, 1, 5, 20, -30, -8, -4, -1])
def test_a_truncated_archive_is_rejected_wherever_it_ends(end: int, tmp_path: Path, folder: Path) -> None:
    (tmp_path / "archive").write_bytes(whole()[:end])
    with pytest.raises(InvalidArchiveError, match="not a complete gzip-compressed tar"):
        unpack(tmp_path / "archive", folder, LIMIT)


def flipped(content: bytes, position: int) -> bytes:
    changed = bytearray(content)
    changed[position] ^= 1
    return bytes(changed)


DAMAGED = {
    "a flipped bit in gzip's checksum": flipped(whole(), -5),
    "a flipped bit in gzip's length": flipped(whole(), -1),
    "a zip": b"PK\x03\x04 a zip",
    "text": b"no archive at all" * 100,
    "gzip of text": gzip.compress(b"no archive at all" * 100),
    "gzip of nothing": gzip.compress(b""),
    "a tar that is not compressed": tar_of(member("a", size=5000)),
    "a damaged header behind the first": gzip.compress(flipped(tar_of(member("a"), member("b")), 512 + 3)),
    "a tar that ends in a file": gzip.compress(tar_of(member("a", size=5000))[:2000]),
    "a tar that ends in a header": gzip.compress(tar_of(member("a"), member("b"))[: 512 + 200]),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_archive_is_rejected(case: str, tmp_path: Path, folder: Path) -> None:
    (tmp_path / "archive").write_bytes(DAMAGED[case])
    with pytest.raises(InvalidArchiveError, match="not a complete gzip-compressed tar"):
        unpack(tmp_path / "archive", folder, LIMIT)


def test_two_gzip_members_make_one_archive(tmp_path: Path, folder: Path) -> None:
    content = tar_of(member("a", size=5000))  # RFC 1952, 2.2: members are concatenated
    (tmp_path / "archive").write_bytes(gzip.compress(content[:1000]) + gzip.compress(content[1000:]))
    assert unpack(tmp_path / "archive", folder, LIMIT) == 5000


def test_a_fault_of_the_disk_is_not_blamed_on_the_archive(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        unpack(tmp_path / "missing", folder, LIMIT)
    (tmp_path / "archive").write_bytes(whole())
    with pytest.raises(OSError, match="/proc"):  # no file system to write to
        unpack(tmp_path / "archive", Path("/proc"), LIMIT)
