"""Model archives, through the one extractor."""

import gzip
import io
import os
import shutil
import stat
import tarfile
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Literal

from polyhost.archives import InvalidArchiveError, unpack
from tests.fuzz.mutations import COMMON, mutated
from tests.fuzz.runner import CHECK_EVERY, Case, FindingError

_LIMIT_BYTES = 1 << 20
_FORMATS: tuple[Literal[0, 1, 2], ...] = (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)
_SLOW_S = 60.0
_NAMES = [
    "a",
    "b",
    "a/b",
    "a/b/c",
    "./a",
    "code/inference.py",
    "..",
    "../x",
    "/x",
    "a/../../x",
    "a//b",
    "",
    ".",
    "a/",
    "é",
]
_NAMES += ["n" * 300, "d/" * 200 + "f", "a\0b", "\udcff", "a\nb", "..a", "a/./b"]
_LINKS = [*_NAMES, "../../..", "/etc/passwd", "a/b/../../..", "self"]
_TYPES = [tarfile.REGTYPE] * 4 + [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.LNKTYPE]
_TYPES += [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, b"Z", b"x", b"g", b"L", b"K"]
_PAX = [
    "path",
    "linkpath",
    "size",
    "mtime",
    "uid",
    "GNU.sparse.name",
    "GNU.sparse.map",
    "GNU.sparse.major",
    "hdrcharset",
]
_VALUES = ["../x", "/x", "-1", "1e400", "nan", "9" * 300, "a\0b", "0,1,5,2", "BINARY", "", "5"]
_TOKENS = [
    *COMMON,
    b"ustar\x0000",
    b"ustar  \0",
    b"00000000000\0",
    b"\x80" + b"\xff" * 11,
    b"30 path=../../x\n",
    bytes(512),
]


class ArchiveSubject:
    """Archives are written next to the folder into which they are unpacked, so what escapes is seen."""

    name = "archives"
    check_every = CHECK_EVERY
    shrinks = True

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._top = Path(tempfile.mkdtemp(prefix="fuzz-archives-"))
        (self._top / "x").write_text("canary")
        self._folder = self._top / "models" / "model"

    def close(self) -> None:
        shutil.rmtree(self._top)

    def new_case(self, chance: Random) -> Case:
        content = _tar(chance)
        if chance.random() < 0.5:
            content = mutated(content, chance, _TOKENS)
        data = gzip.compress(content, 1, mtime=0)
        if chance.random() < 0.2:
            data = mutated(data, chance, most=2)
        return Case(data)

    def attempt(self, case: Case) -> None:
        self._folder.mkdir(parents=True)
        archive = self._top / "archive"
        archive.write_bytes(case.data)
        start = time.monotonic()
        try:
            written = unpack(archive, self._folder, _LIMIT_BYTES)
            self.counts["unpacked"] += 1
        except InvalidArchiveError:
            written = None
            self.counts["rejected"] += 1
        except Exception as error:
            raise FindingError(f"unpack raised {error!r}") from error
        finally:
            size = self._check_folder()
            shutil.rmtree(self._top / "models")
        if written is not None and size > written:
            raise FindingError(f"{size} bytes are in the folder, {written} were announced")
        if time.monotonic() - start > _SLOW_S:
            raise FindingError(f"it took {time.monotonic() - start:.0f} s")

    def _check_folder(self) -> int:
        """Check what was unpacked, and return the size of its files."""
        top = _names(self._top)
        if top != ["archive", "models", "x"] or (self._top / "x").read_text() != "canary":
            raise FindingError(f"something was written outside the folder: {top}")
        if (beside := _names(self._top / "models")) != ["model"]:
            raise FindingError(f"something was written beside the folder: {beside}")
        size = 0
        for parent, folders, files in os.walk(self._folder):
            for path in (Path(parent, name) for name in folders + files):
                mode = path.lstat().st_mode
                if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
                    raise FindingError(f"{path} is neither a file, a folder nor a link")
                if mode & (stat.S_ISUID | stat.S_ISGID) and stat.S_ISREG(mode):
                    raise FindingError(f"{path} has the mode {mode:o}")
                if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self._folder)):
                    raise FindingError(f"{path} leads outside, to {os.path.realpath(path)}")
                size += path.lstat().st_size if stat.S_ISREG(mode) else 0
        return size

    def check(self) -> None: ...

    def finish(self) -> None: ...


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _tar(chance: Random) -> bytes:
    """Return a tar of which headers may say anything, and of which contents need not be what the headers say."""
    content = io.BytesIO()
    made = chance.choice(_FORMATS)
    harmless = chance.random() < 0.5
    for _ in range(chance.choice((1, 2, 4, 8, 30))):
        member = _harmless_member(chance) if harmless else _member(chance)
        try:
            content.write(member.tobuf(made, "utf-8", "surrogateescape"))
        except (ValueError, OverflowError):  # a name that this format has no room for
            continue
        size = member.size if member.size < 1 << 22 else 5000
        content.write(b"x" * size + bytes(-size % tarfile.BLOCKSIZE))
    return content.getvalue() + bytes(chance.choice((1024, 1024, 10240, 0)))


def _harmless_member(chance: Random) -> tarfile.TarInfo:
    member = tarfile.TarInfo(chance.choice(_NAMES[:6]))
    member.type = chance.choice((tarfile.REGTYPE, tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE))
    member.linkname = chance.choice(("a", "b", "a/b", "../b")) if member.type == tarfile.SYMTYPE else ""
    member.mode = chance.choice((0o644, 0o755, 0o6777))
    member.size = chance.choice((0, 1, 512, 5000)) if member.type == tarfile.REGTYPE else 0
    return member


def _member(chance: Random) -> tarfile.TarInfo:
    member = tarfile.TarInfo(chance.choice(_NAMES))
    member.type = chance.choice(_TYPES)
    member.linkname = chance.choice(_LINKS) if member.type in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    member.mode = chance.choice((0o644, 0o755, 0o6777, 0, 0o1777))
    with_content = member.type in (tarfile.REGTYPE, tarfile.CONTTYPE) or chance.random() < 0.1
    member.size = chance.choice((0, 0, 1, 511, 512, 513, 5000)) if with_content else 0
    if chance.random() < 0.03:
        member.size = chance.choice((1 << 21, 1 << 33, (1 << 33) - 1))
    if chance.random() < 0.2:
        member.pax_headers = {chance.choice(_PAX): chance.choice(_VALUES) for _ in range(chance.randint(1, 3))}
    return member
