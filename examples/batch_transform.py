"""Batch transform: a day's records from S3, with predictions joined to them, written to a table of DynamoDB.

Each record has an id, a time, and what was measured of a wine. A transform job sends the measurements alone to a model
that knows three cultivars, and joins its predictions to the ids. The outputs in S3 become items of the table. There is
no endpoint: the job's instances live as long as the job. The environment alone decides where it runs. Here, offline,
with `polyhost emulator` in another shell:

    eval "$(polyhost emulator env)"
    python -m examples.batch_transform

On AWS: credentials, a region, an image in ECR, `--image` and `--role ARN`; the role may read and write the bucket.
"""

import csv
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import WaiterError

from examples.account import Account, Resources, argument_parser

NAME = "wine-batch"
DAY = "2026-11-25"
HOURS = ("08", "12", "16")


def train(folder: Path) -> list[list[str]]:
    """Write the contents of the model's archive, and return records that it has not seen, each with its class."""
    import joblib
    from sklearn.datasets import load_wine
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import train_test_split

    wine: Any = load_wine()
    x, unseen, y, expected = train_test_split(wine.data, wine.target, test_size=60, random_state=0)
    folder.mkdir()
    joblib.dump(RandomForestClassifier(100, random_state=0).fit(x, y), folder / "model.joblib")
    return [
        [f"wine-{number}", *(f"{value:g}" for value in row), str(right)]
        for number, (row, right) in enumerate(zip(unseen, expected, strict=True))
    ]


class Job:
    """The transform job, from the day's records to the joined predictions."""

    def __init__(self, account: Account) -> None:
        self._account = account
        # A job cannot be deleted, and no other may have its name.
        self._name = f"{NAME}-{uuid.uuid4().hex[:8]}"
        self._place = f"{NAME}/{self._name}"

    def upload(self, folder: Path, records: Sequence[Sequence[str]]) -> None:
        """Upload the day's records: one object for each hour in which some came."""
        for number, hour in enumerate(HOURS):
            file = folder / f"{hour}.csv"
            with file.open("w", newline="") as stream:
                rows = ([record[0], f"{DAY}T{hour}:00Z", *record[1:]] for record in records[number :: len(HOURS)])
                csv.writer(stream).writerows(rows)
            self._account.upload(file, f"{self._place}/input/{DAY}")

    def run(self) -> None:
        """Run the job, and return when it has ended. The program ends if it fails."""
        bucket, sagemaker = self._account.bucket, self._account.sagemaker
        sagemaker.create_transform_job(
            TransformJobName=self._name,
            ModelName=NAME,
            MaxConcurrentTransforms=2,
            BatchStrategy="MultiRecord",
            TransformInput={
                "DataSource": {
                    "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/{self._place}/input/{DAY}/"}
                },
                "ContentType": "text/csv",
                "SplitType": "Line",
            },
            TransformOutput={
                "S3OutputPath": f"s3://{bucket}/{self._place}/output/{DAY}",
                "Accept": "text/csv",
                "AssembleWith": "Line",
            },
            TransformResources={"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
            # The id and the time do not go to the model, nor the right class; they are joined to its prediction.
            DataProcessing={"InputFilter": "$[2:-1]", "JoinSource": "Input", "OutputFilter": "$[0,1,-2,-1]"},
        )
        try:
            sagemaker.get_waiter("transform_job_completed_or_stopped").wait(TransformJobName=self._name)
        except WaiterError as error:
            job = sagemaker.describe_transform_job(TransformJobName=self._name)
            sys.exit(job.get("FailureReason", str(error)))

    def outputs(self) -> Iterator[tuple[str, list[list[str]]]]:
        """Yield the name and the rows of each output: id, time, the right class, the prediction."""
        s3, bucket = self._account.s3, self._account.bucket
        for item in s3.list_objects_v2(Bucket=bucket, Prefix=f"{self._place}/output/")["Contents"]:
            content = s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read().decode()
            yield item["Key"].rpartition("/")[2], list(csv.reader(content.splitlines()))


@contextmanager
def predictions_table() -> Iterator[Any]:
    """Create a table with the records' ids as its key; it is deleted when the block ends."""
    table = boto3.resource("dynamodb").create_table(
        TableName=NAME,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    try:
        table.wait_until_exists()
        yield table
    finally:
        table.delete()
        table.wait_until_not_exists()


def main(arguments: Sequence[str] | None = None) -> int:
    options = argument_parser("batch_transform", __doc__).parse_args(arguments)
    account = Account(options.image, options.role)
    job = Job(account)
    with (
        tempfile.TemporaryDirectory(prefix="polyhost-example-") as folder,
        Resources(account) as resources,
        predictions_table() as table,
    ):
        records = train(Path(folder) / "model")
        container = {
            "Image": account.image,
            "ModelDataUrl": account.upload_archive(Path(folder) / "model", NAME),
            "Environment": {"POLYHOST_FRONTEND": "native", "POLYHOST_ZYGOTES": "sklearn"},
        }
        resources.create_model(NAME, PrimaryContainer=container)
        job.upload(Path(folder), records)
        job.run()
        for name, rows in job.outputs():
            with table.batch_writer() as batch:
                for identifier, time, right, predicted in rows:
                    item = {"id": identifier, "time": time, "right": int(right), "predicted": int(float(predicted))}
                    batch.put_item(Item=item)
            print(f"{name}: {len(rows)} predictions")
        _report(table)
    return 0


def _report(table: Any) -> None:
    items = table.scan()["Items"]
    right = sum(item["right"] == item["predicted"] for item in items)
    cultivars = Counter(int(item["predicted"]) for item in items)
    print(f"in the table: {len(items)} items, {right} right; of cultivar {dict(sorted(cultivars.items()))}")
    first = table.get_item(Key={"id": "wine-0"})["Item"]
    print(f"wine-0 at {first['time']}: cultivar {first['predicted']}")


if __name__ == "__main__":
    sys.exit(main())
