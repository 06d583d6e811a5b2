"""Request bodies: from a file or the standard input, and the media type that a file's name stands for."""

import sys
from pathlib import Path

from polyhost.cli.errors import CommandError

STDIN = "-"

MEDIA_TYPES = {
    ".csv": "text/csv",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".jsonl": "application/jsonlines",
    ".npy": "application/x-npy",
    ".png": "image/png",
    ".txt": "text/plain",
}


def read(source: str) -> bytes:
    """The bytes of the named file, or of the standard input for "-"."""
    if source == STDIN:
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read the body {source}: {error.strerror}") from error


def media_type(source: str) -> str:
    """What --content-type stands at when it is not given."""
    if source == STDIN:
        return "application/json"
    suffix = Path(source).suffix.lower()
    try:
        return MEDIA_TYPES[suffix]
    except KeyError:
        raise CommandError(f"no media type is known for {source}; name it with --content-type") from None
