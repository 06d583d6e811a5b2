"""The operations on transform jobs, through botocore."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError, WaiterError

from tests.emulator.batch_transform.harness import Batch
from tests.emulator.conftest import ROLE

ARN = "arn:aws:sagemaker:ap-northeast-2:123456789012"
LINES = {"ContentType": "application/jsonlines", "SplitType": "Line"}


@pytest.fixture(scope="session")  # as the emulator: a process may come back to a module, and jobs stay for good
def jobs(batch: Batch) -> Batch:
    """Have three jobs: listed-a and listed-c, which are completed, and listed-b, which failed."""
    for name in ("listed-a", "listed-b", "listed-c"):
        objects = {} if name == "listed-b" else {"x": b"a"}
        batch.run(name, objects)
    return batch


def _error(batch: Batch, operation: str, **members: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        getattr(batch.sagemaker, operation)(**members)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    error: dict[str, Any] = caught.value.response["Error"]
    return error


def test_descriptions_have_every_member_that_is_documented_as_returned(batch: Batch) -> None:
    given = {
        "MaxConcurrentTransforms": 2,
        "ModelClientConfig": {"InvocationsTimeoutInSeconds": 5, "InvocationsMaxRetries": 1},
        "MaxPayloadInMB": 3,
        "BatchStrategy": "MultiRecord",
        "Environment": {"A": "b"},
        "DataProcessing": {"JoinSource": "Input"},
        "ExperimentConfig": {"ExperimentName": "e"},
    }
    job = batch.run(
        "described", {"x": b"{}"}, input=LINES, output={"Accept": LINES["ContentType"], "AssembleWith": "Line"}, **given
    )
    assert job["TransformJobStatus"] == "Completed", job
    del job["ResponseMetadata"]
    times = {name: job.pop(name) for name in ("CreationTime", "TransformStartTime", "TransformEndTime")}
    assert all(isinstance(value, datetime) for value in times.values())
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://batch/described/in/"}}
    assert job == given | {
        "TransformJobName": "described",
        "TransformJobArn": f"{ARN}:transform-job/described",
        "TransformJobStatus": "Completed",
        "ModelName": "described",
        "TransformInput": {"DataSource": source, "CompressionType": "None"} | LINES,
        "TransformOutput": {
            "S3OutputPath": "s3://batch/described/out",
            "Accept": "application/jsonlines",
            "AssembleWith": "Line",
        },
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        "DataProcessing": {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "Input"},
    }


def test_lists_are_filtered_sorted_and_in_pages(jobs: Batch) -> None:
    def names(**members: Any) -> list[str]:
        pages = jobs.sagemaker.get_paginator("list_transform_jobs").paginate(NameContains="listed", **members)
        return [item["TransformJobName"] for page in pages for item in page["TransformJobSummaries"]]

    assert names() == ["listed-c", "listed-b", "listed-a"]
    assert names(SortOrder="Ascending", PaginationConfig={"PageSize": 1}) == ["listed-a", "listed-b", "listed-c"]
    assert names(SortBy="Name", SortOrder="Descending") == ["listed-c", "listed-b", "listed-a"]
    assert names(SortBy="Status", SortOrder="Ascending") == ["listed-a", "listed-c", "listed-b"]
    assert names(StatusEquals="Failed") == ["listed-b"]
    later = datetime.now(UTC) + timedelta(hours=1)
    assert names(CreationTimeAfter=later) == names(LastModifiedTimeAfter=later) == []
    assert len(names(CreationTimeBefore=later, LastModifiedTimeBefore=later)) == 3
    (failed,) = jobs.sagemaker.list_transform_jobs(StatusEquals="Failed", NameContains="listed-b")[
        "TransformJobSummaries"
    ]
    assert failed["FailureReason"].startswith("ClientError: No S3 objects found")
    assert failed["TransformJobArn"] == f"{ARN}:transform-job/listed-b"
    assert failed["CreationTime"] <= failed["TransformEndTime"] <= failed["LastModifiedTime"]
    first = jobs.sagemaker.list_transform_jobs(MaxResults=1)
    assert len(first["TransformJobSummaries"]) == 1
    assert first["NextToken"]


def test_a_name_is_used_once_and_a_job_needs_a_model(jobs: Batch) -> None:
    with pytest.raises(jobs.sagemaker.exceptions.ResourceInUse) as caught:
        jobs.create("Listed-A", ModelName="listed-a")
    assert caught.value.response["Error"]["Message"] == (
        "Transform job names must be unique within an AWS account and region, and a transform job with this name"
        f" already exists ({ARN}:transform-job/listed-a)"
    )
    with pytest.raises(ClientError, match=f'ValidationException.*Could not find model "{ARN}:model/none"'):
        jobs.create("new", ModelName="none")


@pytest.mark.parametrize("operation", ["describe_transform_job", "stop_transform_job"])
def test_a_job_that_does_not_exist(batch: Batch, operation: str) -> None:
    error = _error(batch, operation, TransformJobName="none")
    assert error == {"Code": "ValidationException", "Message": "Could not find requested job with name: none"}


def test_a_job_that_has_ended_cannot_be_stopped(jobs: Batch) -> None:
    error = _error(jobs, "stop_transform_job", TransformJobName="listed-b")
    assert error["Code"] == "ValidationException"
    assert error["Message"] == "The request was rejected because the transform job is in status Failed."


def test_the_waiter_sees_a_failure(jobs: Batch) -> None:
    waiter = jobs.sagemaker.get_waiter("transform_job_completed_or_stopped")
    with pytest.raises(WaiterError, match='we matched expected path: "Failed"'):
        waiter.wait(TransformJobName="listed-b")


def test_a_job_goes_on_if_its_model_is_deleted(batch: Batch) -> None:
    batch.model("deleted")
    batch.put("deleted", {"x": b"a"})
    batch.create("deleted")
    batch.sagemaker.delete_model(ModelName="deleted")
    assert batch.wait("deleted")["TransformJobStatus"] == "Completed"


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"MaxPayloadInMB": 101}, "MaxPayloadInMB 101 is too large; it must not exceed 100"),
        (
            {"MaxPayloadInMB": 51, "MaxConcurrentTransforms": 2},
            "MaxConcurrentTransforms 2 * MaxPayloadInMB 51 must not",
        ),
        ({"MaxConcurrentTransforms": 17}, "MaxConcurrentTransforms 17 * MaxPayloadInMB 6 must not exceed 100"),
        ({"source": {"S3DataType": "AugmentedManifestFile"}}, "S3DataType AugmentedManifestFile is not supported"),
        (
            {"source": {"S3Uri": "https://example.com/a"}},
            "TransformInput has no address of S3: 'https://example.com/a'",
        ),
        ({"output": {"S3OutputPath": "https://example.com/a"}}, "TransformOutput has no address of S3"),
        ({"resources": {"InstanceCount": 101}}, "InstanceCount 101 is too many"),
        ({"resources": {"InstanceType": "ml.trn1.2xlarge"}}, "does not know the memory of ml.trn1.2xlarge"),
        ({"DataCaptureConfig": {"DestinationS3Uri": "s3://b/c"}}, "does not support DataCaptureConfig"),
        ({"DataProcessing": {"JoinSource": "Input"}}, "needs a ContentType of text/csv, application/json, "),
        (
            {"input": {"ContentType": "text/csv"}, "DataProcessing": {"InputFilter": "$[1:]"}},
            "DataProcessing of text/csv needs a SplitType of Line",
        ),
        (
            {
                "input": {"ContentType": "application/json", "SplitType": "RecordIO"},
                "DataProcessing": {"InputFilter": "$.a"},
            },
            "needs a SplitType of Line or None, but got RecordIO",
        ),
        (
            {"input": LINES, "output": {"AssembleWith": "Line"}, "DataProcessing": {"JoinSource": "Input"}},
            "need an Accept like ContentType, application/jsonlines, but got none",
        ),
        (
            {
                "input": LINES,
                "output": {"Accept": "application/jsonlines"},
                "DataProcessing": {"OutputFilter": "$.a"},
            },
            "need an AssembleWith like SplitType, Line, but got None",
        ),
        ({"DataProcessing": {"InputFilter": "$" * 64}}, "at 'dataProcessing.inputFilter' failed to satisfy constraint"),
        ({"Environment": {f"V{number}": "" for number in range(17)}}, "at 'environment' failed to satisfy constraint"),
        ({"Environment": {"A-B": ""}}, "Member must satisfy regular expression pattern: [a-zA-Z_][a-zA-Z0-9_]{0,1023}"),
        ({"BatchStrategy": "Many"}, "Member must satisfy enum value set: [MultiRecord, SingleRecord]"),
        ({"TransformJobName": "a_b"}, "at 'transformJobName' failed to satisfy constraint"),
        ({"ModelClientConfig": {"InvocationsMaxRetries": 4}}, "Member must have value less than or equal to 3"),
        ({"ModelClientConfig": {"InvocationsTimeoutInSeconds": 3601}}, "must have value less than or equal to 3600"),
    ],
)
def test_what_is_rejected(jobs: Batch, members: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientError) as caught:
        jobs.create("new", **({"ModelName": "listed-a"} | members))
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert words in caught.value.response["Error"]["Message"]


def test_what_botocore_itself_rejects(jobs: Batch) -> None:
    for members in ({"MaxPayloadInMB": -1}, {"resources": {"InstanceCount": 0}}, {"TransformJobName": ""}):
        with pytest.raises(ParamValidationError):
            jobs.create("new", ModelName="listed-a", **members)


def test_models_that_have_no_batch_transform(batch: Batch) -> None:
    batch.model("many-models", Mode="MultiModel", ModelDataUrl="s3://batch/models/")
    with pytest.raises(ClientError, match="Multi-model container of model many-models is not supported for batch"):
        batch.create("new", ModelName="many-models")
    containers = [{"Image": "batch", "ContainerHostname": name} for name in ("a", "b")]
    batch.sagemaker.create_model(
        ModelName="direct", ExecutionRoleArn=ROLE, Containers=containers, InferenceExecutionConfig={"Mode": "Direct"}
    )
    with pytest.raises(ClientError, match="Model direct of Mode Direct cannot be used in a transform job"):
        batch.create("new", ModelName="direct")
