"""Files that a command is given as a path or as s3://BUCKET/PREFIX."""

from pathlib import Path, PurePosixPath
from typing import Any

from polyhost.cli.errors import CommandError

_SCHEME = "s3://"


def fetched(source: str, folder: Path, endpoint_url: str | None) -> Path:
    """Return the path of a source; what is in S3 is downloaded into the folder. Raises CommandError."""
    if not source.startswith(_SCHEME):
        path = Path(source)
        if not path.exists():
            raise CommandError(f"there is no {source}; give a file, a folder or s3://BUCKET/PREFIX")
        return path
    bucket, _, prefix = source.removeprefix(_SCHEME).partition("/")
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ModuleNotFoundError as error:
        raise CommandError(f"cannot read {source}: {error.name} is not installed; install boto3") from error
    try:
        return _download(boto3.client("s3", endpoint_url=endpoint_url), bucket, prefix, folder)
    except (BotoCoreError, ClientError) as error:
        raise CommandError(f"cannot read {source}: {error}; check the address, credentials and region") from error


def _download(client: Any, bucket: str, prefix: str, folder: Path) -> Path:
    """Download all objects at or below a prefix; return the folder, or the file if the prefix is an object's key."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [item["Key"] for page in pages for item in page.get("Contents", []) if not item["Key"].endswith("/")]
    base = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
    keys = [key for key in keys if key == prefix or key.startswith(base)]
    if not keys:
        raise CommandError(f"there is no object at s3://{bucket}/{prefix}; check the prefix")
    for key in keys:
        parts = PurePosixPath(key.removeprefix(base) if key != prefix else PurePosixPath(key).name).parts
        if ".." in parts or "/" in parts:
            raise CommandError(f"s3://{bucket}/{key} leads out of its folder; remove that object")
        path = folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        client.download_file(bucket, key, str(path))
    return folder / PurePosixPath(prefix).name if keys == [prefix] else folder
