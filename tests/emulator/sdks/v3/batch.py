"""`TransformJob`: batch transform, with records joined to their predictions, and a failure."""

import json

import boto3
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.resources import TransformJob
from sagemaker.core.shapes import (
    ContainerDefinition,
    DataProcessing,
    TransformDataSource,
    TransformInput,
    TransformOutput,
    TransformResources,
    TransformS3DataSource,
)
from sagemaker.core.utils.exceptions import FailedStatusError

from tests.emulator.sdks.v3.common import IMAGE, container, model, upload

LINES = "application/jsonlines"
RECORDS = [{"id": number, "text": f"question {number}"} for number in range(5)]


def main(name: str) -> None:
    s3, bucket = boto3.client("s3"), Session().default_bucket()
    lines = "\n".join(map(json.dumps, RECORDS))
    s3.put_object(Bucket=bucket, Key=f"{name}/input/day.jsonl", Body=lines)
    processing = DataProcessing(join_source="Input", output_filter="$['id','SageMakerOutput']")
    with model(name, container(name, "one")):
        job = _job(bucket, name, name, data_processing=processing)
        job.wait(poll=1, logs=True)
        assert job.transform_job_status == "Completed"
    output = s3.get_object(Bucket=bucket, Key=f"{name}/output/day.jsonl.out")["Body"].read()
    joined = [json.loads(line) for line in output.splitlines()]
    assert [record["id"] for record in joined] == [record["id"] for record in RECORDS]
    assert [json.loads(record["SageMakerOutput"]["body"]) for record in joined] == RECORDS
    assert [job.transform_job_name for job in TransformJob.get_all(name_contains=name)] == [name]

    broken = ContainerDefinition(image=IMAGE, model_data_url=upload(f"{name}/broken", "broken", status=400))
    with model(f"{name}-broken", broken):
        try:
            _job(bucket, name, f"{name}-broken").wait(poll=1)
        except FailedStatusError as error:
            assert "Failed" in str(error), error
        else:
            raise AssertionError("the job has not failed")


def _job(bucket: str, name: str, model_name: str, **members: object) -> TransformJob:
    """Start a job of the model's name."""
    output = f"s3://{bucket}/{name}/output"
    source = TransformS3DataSource(s3_data_type="S3Prefix", s3_uri=f"s3://{bucket}/{name}/input/")
    return TransformJob.create(
        transform_job_name=model_name,
        model_name=model_name,
        transform_input=TransformInput(
            data_source=TransformDataSource(s3_data_source=source),
            content_type=LINES,
            split_type="Line",
        ),
        transform_output=TransformOutput(s3_output_path=output, assemble_with="Line", accept=LINES),
        transform_resources=TransformResources(instance_type="ml.m5.xlarge", instance_count=1),
        batch_strategy="SingleRecord",
        **members,
    )
