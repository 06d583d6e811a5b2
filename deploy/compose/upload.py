"""Put the archives below /models into the bucket; runs in the image of moto, which has boto3."""

import os
from pathlib import Path

import boto3
from botocore.config import Config

FOLDER = Path("/models")


def main() -> None:
    bucket = os.environ["BUCKET"]
    s3 = boto3.client("s3", config=Config(retries={"total_max_attempts": 20}))  # it may still be starting
    s3.create_bucket(Bucket=bucket)
    archives = sorted(FOLDER.rglob("*.tar.gz"))
    for archive in archives:
        s3.upload_file(str(archive), bucket, archive.relative_to(FOLDER).as_posix())
    print(f"{len(archives)} archives are in s3://{bucket}/")


if __name__ == "__main__":
    main()
