"""A script that lies beside the archives: `SAGEMAKER_SUBMIT_DIRECTORY`, which SageMaker's SDK sets.

With an entry point, the SDK uploads the code apart from the model as `s3://BUCKET/.../sourcedir.tar.gz`, or packs it
into the archive and gives the place, `/opt/ml/model/code`. The container fetches code from S3 once, at its start, and
gives its processes the folder; in any other process, such as `polyhost check`, the first use fetches it.
"""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from polyhost import archives
from polyhost.handlers.errors import BadSettingError
from polyhost.handlers.settings import SUBMIT_DIRECTORY, Settings

_LIMIT_BYTES = 1 << 30  # of the archive, and of what is in it: code, not weights
_CHUNK_BYTES = 1 << 20
_CONNECT_S, _READ_S = 10, 30


def folder(settings: Settings) -> Path | None:
    """Return the folder with the code, None if all code is in the archives. Raises BadSettingError."""
    place = settings.submit_directory
    if place is None or not _must_be_unpacked(place):
        return Path(place) if place else None
    return _fetched(settings)


def prepare(settings: Settings, base_dir: str, into: Path) -> dict[str, str]:
    """Fetch the code, and return what the environment of the container's processes has to say of it.

    `into` does not exist yet. Raises BadSettingError.
    """
    place = settings.submit_directory
    if place is None or _is_in_archive(place, base_dir):
        return {}
    if not _must_be_unpacked(place):
        _check_folder(Path(place), settings)
        return {}
    into.mkdir()
    _fetch(settings, into)
    return {SUBMIT_DIRECTORY: str(into)}


def _must_be_unpacked(place: str) -> bool:
    return place.startswith("s3://") or Path(place).is_file()


def _is_in_archive(place: str, base_dir: str) -> bool:
    """Return whether the place is where SageMaker unpacks a lone model; each of many has its own code/."""
    return any(Path(place).is_relative_to(Path(base, "model")) for base in ("/opt/ml", base_dir))


def _check_folder(path: Path, settings: Settings) -> None:
    if not (path / settings.program).is_file():
        found = "it does not exist" if not path.is_dir() else f"it has no {settings.program} (SAGEMAKER_PROGRAM)"
        raise _error(settings, f"{found}; name the folder of the script, or s3://BUCKET/KEY.tar.gz with the script")


@cache
def _fetched(settings: Settings) -> Path:
    temporary = tempfile.TemporaryDirectory(prefix="polyhost-code-")
    _kept.append(temporary)
    _fetch(settings, Path(temporary.name))
    return Path(temporary.name)


_kept: list[tempfile.TemporaryDirectory[str]] = []  # removed when the process ends


def _fetch(settings: Settings, into: Path) -> None:
    place = settings.submit_directory
    assert place is not None
    with tempfile.TemporaryDirectory(dir=into.parent) as work:
        archive = Path(place)
        if place.startswith("s3://"):
            archive = Path(work, "sourcedir.tar.gz")
            _download(settings, place, archive)
        try:
            archives.unpack(archive, into, _LIMIT_BYTES)
        except archives.InvalidArchiveError as error:
            raise _error(settings, f"{error}; it must be a .tar.gz with the script") from error
        except OSError as error:
            raise _error(settings, f"cannot be unpacked: {error}") from error
    if not (into / settings.program).is_file():
        found = ", ".join(sorted(path.name for path in into.iterdir())[:20]) or "nothing"
        raise _error(settings, f"has no {settings.program} (SAGEMAKER_PROGRAM), but {found}")


def _download(settings: Settings, url: str, path: Path) -> None:
    """Write an object of S3 to a file, with the credentials and the endpoint that boto3 finds."""
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise _error(settings, f"{error}; install boto3, or put the code into the archive, below code/") from error
    bucket, _, key = url.removeprefix("s3://").partition("/")
    limits = Config(connect_timeout=_CONNECT_S, read_timeout=_READ_S, retries={"mode": "standard"})
    try:
        found = boto3.client("s3", region_name=settings.region, config=limits).get_object(Bucket=bucket, Key=key)
        _write(found["Body"], found["ContentLength"], path, settings)
    except (BotoCoreError, ClientError, ValueError) as error:
        raise _error(
            settings, f"cannot be read: {error}; let the endpoint's role read it, or put the code into the archive"
        ) from error


def _write(body: Any, size: int, path: Path, settings: Settings) -> None:
    if size > _LIMIT_BYTES:
        raise _error(settings, f"has {size} bytes, more than {_LIMIT_BYTES}; it must hold code only")
    with path.open("wb") as file:
        while chunk := body.read(_CHUNK_BYTES):
            file.write(chunk)


def _error(settings: Settings, reason: str) -> BadSettingError:
    return BadSettingError(f"{SUBMIT_DIRECTORY}={settings.submit_directory!r}: {reason}")
