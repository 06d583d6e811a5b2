"""What a file, a buffer or a view of memory holds, where a model's code returns one as a response's body."""

import io
import os
from typing import Any

from polyhost.handlers.errors import WrongAnswerError


def is_file(value: Any) -> bool:
    """Return whether the value is read like a file; not a class that defines `read`."""
    return callable(getattr(value, "read", None)) and not isinstance(value, type)


def whole(value: Any, origin: str) -> Any:
    """Return what a file or buffer holds, as bytes or text; anything else unchanged. Raises WrongAnswerError.

    Standard files are iterators of lines as well, so this comes before any test for an iterator. `origin` names what
    returned the value.
    """
    if isinstance(value, bytes | str):
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, os.PathLike):
        raise WrongAnswerError(
            f"{origin} returned the path {os.fspath(value)!r}, not what the file holds; return open(path, 'rb')"
        )
    return _read(value, origin) if is_file(value) else value


def _read(file: Any, origin: str) -> bytes | str:
    """Read a file from its beginning; one that cannot be rewound, such as a socket's, from where it is."""
    try:
        rewound = _rewind(file)
        held = file.read()
    except (OSError, ValueError) as error:  # closed, or opened for writing only
        reason = "it is open for writing only" if isinstance(error, io.UnsupportedOperation) else error
        raise WrongAnswerError(
            f"{origin} returned a {type(file).__name__} that cannot be read: {reason}; return an open file, opened "
            "for reading, or the bytes themselves"
        ) from error
    finally:
        _close(file)
    if isinstance(held, bytearray | memoryview):
        held = bytes(held)
    if not isinstance(held, bytes | str):
        raise WrongAnswerError(
            f"{origin} returned a {type(file).__name__} whose read() gives a {type(held).__name__}; it must give "
            "bytes or text"
        )
    if not held and not rewound:
        raise WrongAnswerError(
            f"{origin} returned a {type(file).__name__} that is at its end and cannot be rewound; return it unread, "
            "or the bytes themselves"
        )
    return held


def _rewind(file: Any) -> bool:
    """Return whether the file could be rewound."""
    if getattr(file, "closed", False) is True:
        raise ValueError("it is closed")
    seekable = getattr(file, "seekable", None)
    if callable(seekable) and not seekable():
        return False
    try:
        file.seek(0)
    except (AttributeError, io.UnsupportedOperation):
        return False
    return True


def _close(file: Any) -> None:
    """Close a file. A buffer in memory holds nothing that needs it, and its owner may return it again."""
    close = getattr(file, "close", None)
    if callable(close) and not isinstance(file, io.BytesIO | io.StringIO):
        close()
