"""Variables that models do not get (POLYHOST_WITHHOLD): kept from all processes but the supervisor while it starts.

A worker is a fork of a zygote, whose /proc/PID/environ shows what it was started with. So the processes are started
without them, and the supervisor overwrites its own, once it has fetched what it needs them for.
"""

import os
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from polyhost.events import get_logger

BEARER_TOKEN = "POLYHOST_BEARER_TOKEN"  # noqa: S105 - the name of a variable
SIGNING_KEYS = "POLYHOST_SIGNING_KEYS"
SECRETS = (BEARER_TOKEN, SIGNING_KEYS)  # of the container itself; its front end gets them through a pipe
CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_BEARER_TOKEN",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_TOKEN",
)
# What the container's own processes read, or cannot start without.
_NEEDED = (
    "SAGEMAKER_*",
    "POLYHOST_*",
    "MMS_*",
    "PATH",
    "PYTHONPATH",
    "PYTHONHOME",
    "LD_LIBRARY_PATH",
    "JAVA_HOME",
    "HOME",
    "TMPDIR",
    "LANG",
    "CUDA_VISIBLE_DEVICES",
)
_PATTERN = re.compile(r"[A-Za-z_*][A-Za-z0-9_*]*")
_STAT_ENV_START = 50 - 3  # among the fields behind the name, of which the first is the third of all (proc(5))

logger = get_logger(__name__)


def parse(value: str) -> tuple[str, ...]:
    """Read the setting: names, in which * stands for any characters. Raises ValueError."""
    patterns = tuple(value.replace(",", " ").split())
    if not all(map(_PATTERN.fullmatch, patterns)):
        raise ValueError("must be names of variables, such as DB_PASSWORD or MY_TEAM_*, separated by commas or spaces")
    if needed := [pattern for pattern in patterns if "*" not in pattern and _matches(pattern, _NEEDED)]:
        raise ValueError(f"{needed[0]} cannot be withheld, polyhost needs it; leave it out")
    return patterns


def of(strict: bool, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return what is withheld without being named in the setting."""
    return (*(CREDENTIALS if strict else ()), *(name for name in SECRETS if environ.get(name)))


def is_withheld(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a model is not to get the variable; what polyhost needs is not withheld by a pattern."""
    return _matches(name, patterns) and (name in SECRETS or not _matches(name, _NEEDED))


def without(environ: Mapping[str, str], patterns: Iterable[str]) -> dict[str, str]:
    """Return the environment without what is withheld."""
    patterns = tuple(patterns)
    return {name: value for name, value in environ.items() if not is_withheld(name, patterns)}


def forget(patterns: Iterable[str]) -> None:
    """Remove from this process's environment what is withheld, and overwrite it where /proc/PID/environ shows it."""
    patterns = tuple(patterns)
    for name in list(os.environ):
        if is_withheld(name, patterns):
            del os.environ[name]
    if patterns:
        try:
            _overwrite(patterns)
        except (OSError, ValueError) as error:
            logger.warning("POLYHOST_WITHHOLD: models may read this process's first environment: %s", error)


def _overwrite(patterns: Iterable[str]) -> None:
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = map(int, fields[_STAT_ENV_START : _STAT_ENV_START + 2])
    memory = os.open("/proc/self/mem", os.O_RDWR | os.O_CLOEXEC)
    try:
        entries = os.pread(memory, end - start, start).split(b"\0")
        kept = [
            bytes(len(entry)) if is_withheld(os.fsdecode(entry.partition(b"=")[0]), patterns) else entry
            for entry in entries
        ]
        os.pwrite(memory, b"\0".join(kept), start)
    finally:
        os.close(memory)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
