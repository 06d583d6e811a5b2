"""Request bodies from files or the standard input, and the media types of files by their names."""

import sys
from pathlib import Path

from polyhost.cli.errors import CommandError

_STDIN = "-"

_MEDIA_TYPES = {
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
    """Return the bytes of the named file, or of the standard input for "-"."""
    if source == _STDIN:
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read the body {source}: {error.strerror}") from error


def media_type(source: str) -> str:
    """Return the default of --content-type. Raise CommandError if the file's name does not tell it."""
    if source == _STDIN:
        return "application/json"
    suffix = Path(source).suffix.lower()
    try:
        return _MEDIA_TYPES[suffix]
    except KeyError:
        raise CommandError(f"no media type is known for {source}; give it with --content-type") from None
