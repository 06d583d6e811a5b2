"""The keys with which clients may sign for AWS's runtime API (POLYHOST_SIGNING_KEYS)."""

import re
from pathlib import Path

from polyhost.container.errors import ConfigError

_PAIR = re.compile(r"([A-Za-z0-9_]{16,128}):([\x21-\x2b\x2d-\x7e]{16,128})")  # IAM, AccessKeyId; no commas


def signing_keys(value: str) -> dict[str, str]:
    """Read KEY_ID:SECRET, separated by spaces, commas or lines, or the absolute path of a file that holds them.

    Raises ConfigError, which names no secret.
    """
    where = "POLYHOST_SIGNING_KEYS"
    if value.startswith("/"):
        where = f"{where}={value!r}"
        try:
            value = Path(value).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{where} cannot be read: {error}") from None
    pairs = [_PAIR.fullmatch(pair) for pair in value.replace(",", " ").split()]
    if not pairs or not all(pairs):
        raise ConfigError(
            f"{where} must be KEY_ID:SECRET, each of 16 to 128 characters, separated by spaces, or a file of these"
        )
    return {pair[1]: pair[2] for pair in pairs if pair}
