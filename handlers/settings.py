"""The handlers' settings, and the only reader of the environment in this package."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self, TypeVar

from polyhost.handlers.body.media_types import MediaType
from polyhost.handlers.errors import BadSettingError

DEFAULT_PROGRAM = "inference.py"
DEFAULT_ACCEPT = "application/json"
SUBMIT_DIRECTORY = "SAGEMAKER_SUBMIT_DIRECTORY"

ValueT = TypeVar("ValueT")

_S3_ARCHIVE = re.compile(r"s3://[^/]+/.+")
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+")  # RFC 6838, section 4.2


@dataclass(frozen=True)
class Settings:
    """Built once in a process and handed down.

    `program` is the name of an archive's script, `default_accept` the media type of a response to a request without
    an Accept header. `decode_inputs`: MMS gives handlers of the user's own JSON as values and text as str.
    `submit_directory` is where a script lies beside the archives, a path or an address in S3, in
    the AWS region `region`; among many models (`multi_model`) it is for those that have no script.
    `task` is that of Hugging Face models which name none; `base_models` is a folder of models that adapters complete.
    """

    program: str = DEFAULT_PROGRAM
    default_accept: str = DEFAULT_ACCEPT
    decode_inputs: bool = False
    submit_directory: str | None = None
    region: str | None = None
    multi_model: bool = False
    task: str | None = None
    base_models: Path | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Raise BadSettingError, which names the variable, its value and what it may be."""
        return cls(
            program=_read(environ, "SAGEMAKER_PROGRAM", _program, DEFAULT_PROGRAM),
            default_accept=_read(environ, "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", _media_type, DEFAULT_ACCEPT),
            decode_inputs=_read(environ, "MMS_DECODE_INPUT_REQUEST", _flag, False),
            submit_directory=_read(environ, SUBMIT_DIRECTORY, _submit_directory, None),
            region=_read(environ, "SAGEMAKER_REGION", str, None) or _read(environ, "AWS_REGION", str, None),
            multi_model=_read(environ, "SAGEMAKER_MULTI_MODEL", str, "") == "true",
            task=_read(environ, "HF_TASK", str, None),
            base_models=_read(environ, "POLYHOST_BASE_MODELS", _folder, None),
        )

    @classmethod
    def of_process(cls) -> Self:
        """Read this process's environment. Raises BadSettingError."""
        return cls.from_environ(os.environ)


def _read(environ: Mapping[str, str], name: str, convert: Callable[[str], ValueT], default: ValueT) -> ValueT:
    """Convert one variable; an empty one counts as absent, as `docker run -e X=` leaves it."""
    value = environ.get(name, "").strip()
    if not value:
        return default
    try:
        return convert(value)
    except ValueError as error:
        raise BadSettingError(f"{name}={value!r}: {error}") from None


def _program(value: str) -> str:
    path = PurePosixPath(value)
    if path.suffix != ".py" or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"must name a Python file of the archive, such as {DEFAULT_PROGRAM}")
    return value


def _folder(value: str) -> Path:
    path = Path(value)
    if not path.is_absolute():
        raise ValueError("must be the absolute path of a folder of models, such as /opt/ml/bases")
    return path


def _flag(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return value.lower() == "true"


def _submit_directory(value: str) -> str:
    path = value.removeprefix("file://")
    if not _S3_ARCHIVE.fullmatch(value) and not PurePosixPath(path).is_absolute():
        raise ValueError("must be s3://BUCKET/KEY.tar.gz, or the path of a folder, such as /opt/ml/model/code")
    return path


def _media_type(value: str) -> str:
    name = MediaType.parse(value).name
    if not _MEDIA_TYPE.fullmatch(name):
        raise ValueError(f"must be a media type, such as {DEFAULT_ACCEPT}")
    return name
