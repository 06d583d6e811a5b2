"""Archives made to harm who unpacks them, or damaged, each with what its rejection says."""

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Hostile(NamedTuple):
    """An archive as a function, for some are large, and a pattern for the reason of its rejection."""

    make: Callable[[], bytes]
    reason: str


def header(
    name: str = "a", kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "", pax: dict[str, str] | None = None
) -> bytes:
    """Return a member's header, with one in PAX format before it."""
    made = tarfile.TarInfo(name)
    made.type, made.size, made.linkname = kind, size, link
    made.pax_headers = pax or {}
    return made.tobuf(tarfile.PAX_FORMAT)


def special(kind: bytes, content: bytes) -> bytes:
    """Return a header that says something of the next member."""
    made = tarfile.TarInfo("special")
    made.type, made.size = kind, len(content)
    return made.tobuf() + content + bytes(-len(content) % 512)


def with_size(block: bytes, size: bytes) -> bytes:
    """Return a header with another size, as it stands there, and its checksum put right."""
    changed = bytearray(block)
    changed[124:136] = size
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed)
    return bytes(changed)


def gz(*blocks: bytes) -> bytes:
    return gzip.compress(b"".join(blocks) + bytes(1024), mtime=0)


def sparse_of_old_gnu(size: int) -> bytes:
    """Return the header of a file that has nothing but a hole."""
    made = bytearray(with_size(header(kind=tarfile.GNUTYPE_SPARSE), b"00000000000\0"))
    made[257:265] = tarfile.GNU_MAGIC
    made[386 : 386 + 24] = b"00000000000\0" * 2
    made[483:495] = b"%011o\0" % size
    return with_size(bytes(made), b"00000000000\0")


def whole() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name in ("a", "b"):
            member = tarfile.TarInfo(name)
            member.size = 5000
            tar.addfile(member, io.BytesIO(bytes(5000)))
    return gzip.compress(content.getvalue(), mtime=0)


def flipped(content: bytes, position: int) -> bytes:
    changed = bytearray(content)
    changed[position] ^= 1
    return bytes(changed)


def busy(path: Path) -> Path:
    """Make an archive that takes minutes of processor time, in which the interpreter is held (CVE-2024-6232)."""
    digits = (b"1" * 255 + b"x") * 400
    path.write_bytes(gz(*(special(tarfile.XGLTYPE, digits) + header() for _ in range(2000))))
    return path


NEGATIVE = b"\xff" * 12
EIGHT_GB = b"77777777777\0"
BROKEN = "not a complete gzip-compressed tar"
SENSELESS = "its headers make no sense"

ARCHIVES: dict[str, Hostile] = {
    "text": Hostile(lambda: b"no archive at all" * 100, BROKEN),
    "nothing": Hostile(lambda: b"", BROKEN),
    "truncated": Hostile(lambda: whole()[:-30], BROKEN),
    "truncated by its checksum": Hostile(lambda: whole()[:-8], BROKEN),
    "bad checksum": Hostile(lambda: flipped(whole(), -8), BROKEN),
    "bad length": Hostile(lambda: flipped(whole(), -1), BROKEN),
    "outside": Hostile(lambda: gz(header("../escape")), "outside the model's folder"),
    "link outside": Hostile(lambda: gz(header("a", tarfile.SYMTYPE, link="/etc")), "outside the model's folder"),
    "device": Hostile(lambda: gz(header("null", tarfile.CHRTYPE)), "neither a file, a folder nor a link"),
    "negative size": Hostile(lambda: gz(with_size(header(), NEGATIVE)), "a negative size"),
    "negative size of a pax header": Hostile(
        lambda: gz(with_size(header(kind=tarfile.XHDTYPE), NEGATIVE), header()), "a negative size"
    ),
    "negative size in a pax header": Hostile(
        # The second by Pythons with the fix of CVE-2025-8194.
        lambda: gz(special(tarfile.XHDTYPE, b"12 size=-512\n"), header()),
        "a negative size|invalid header",
    ),
    "pax header of 128 kB of digits": Hostile(
        lambda: gz(special(tarfile.XHDTYPE, b"1" * 131_072), header()), "a number of more than 255 digits"
    ),
    "pax header of 8 GB": Hostile(
        lambda: gz(with_size(header(kind=tarfile.XHDTYPE), EIGHT_GB), header()), "a header of"
    ),
    "name of 8 GB": Hostile(
        lambda: gz(with_size(header(kind=tarfile.GNUTYPE_LONGNAME), EIGHT_GB), header()), "a header of"
    ),
    "name of 100 kB": Hostile(
        lambda: gz(special(tarfile.GNUTYPE_LONGNAME, b"n" * 100_000), header()), "a name of more than 1024 bytes"
    ),
    "NUL in a name": Hostile(lambda: gz(header(pax={"path": "nu\0l"})), "has a NUL in a name"),
    "3,000 nested folders": Hostile(
        lambda: gz(header(pax={"path": "a/" * 3000 + "b"})), "more than 1024 bytes|more than 64 folders deep"
    ),
    "400 nested folders": Hostile(lambda: gz(header(pax={"path": "a/" * 400 + "b"})), "more than 64 folders deep"),
    "3,000 headers before a member": Hostile(
        lambda: gz(special(tarfile.GNUTYPE_LONGNAME, b"n\0") * 3000, header()), f"{SENSELESS}: RecursionError"
    ),
    "sparse file of 4 GB": Hostile(lambda: gz(sparse_of_old_gnu(1 << 32)), "larger than [0-9]+ bytes"),
    "invalid sparse map": Hostile(lambda: gz(header(pax={"GNU.sparse.map": "1,x"})), f"{SENSELESS}: ValueError"),
    "sparse map without numbers": Hostile(
        lambda: gz(header(pax={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}), b"x\n".ljust(512, b"\0")),
        f"{SENSELESS}: ValueError",
    ),
    "size that is no number": Hostile(lambda: gz(header(pax={"GNU.sparse.size": "inf"})), SENSELESS),
    "100,001 members": Hostile(lambda: gz(header("same", tarfile.DIRTYPE) * 100_001), "more than 100000 members"),
    "zeros of 8 GB": Hostile(
        lambda: gz(with_size(header("zeros"), b"77777777777\0"), bytes(100_000)), "larger than [0-9]+ bytes"
    ),
    "file below a file": Hostile(lambda: gz(header("a"), header("a/b")), "its members contradict each other"),
}
