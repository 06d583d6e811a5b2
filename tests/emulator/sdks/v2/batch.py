"""`Transformer`: batch transform, with records joined to their predictions, a failure, and a job that is stopped."""

import json

from botocore.exceptions import ClientError
from sagemaker.exceptions import UnexpectedStatusException
from sagemaker.s3 import S3Downloader, S3Uploader
from sagemaker.session import Session
from sagemaker.transformer import Transformer

from tests.emulator.sdks.v2.common import INSTANCE, model, upload

LINES = "application/jsonlines"
RECORDS = [{"id": number, "text": f"question {number}"} for number in range(5)]


def main(name: str) -> None:
    session = Session()
    place = f"s3://{session.default_bucket()}/{name}"
    lines = "\n".join(map(json.dumps, RECORDS))
    S3Uploader.upload_string_as_file_body(lines, f"{place}/input/day.jsonl", sagemaker_session=session)
    one = model(session, name, "one")
    how = {"strategy": "SingleRecord", "assemble_with": "Line", "accept": LINES}
    transformer = one.transformer(1, INSTANCE, output_path=f"{place}/output", **how)
    _start(transformer, place, f"{name}-job", join_source="Input", output_filter="$['id','SageMakerOutput']")
    session.wait_for_transform_job(f"{name}-job", poll=1)
    output = S3Downloader.read_file(f"{transformer.output_path}/day.jsonl.out", sagemaker_session=session)
    joined = [json.loads(line) for line in output.splitlines()]
    assert [record["id"] for record in joined] == [record["id"] for record in RECORDS]
    assert [json.loads(record["SageMakerOutput"]["body"]) for record in joined] == RECORDS

    attached = Transformer.attach(f"{name}-job", sagemaker_session=session)
    assert (attached.output_path, attached.strategy) == (transformer.output_path, "SingleRecord")
    transformer.stop_transform_job(wait=False)  # one that is over: the SDK passes over the error
    one.delete_model()
    _check_failure(session, name, place)


def _check_failure(session: Session, name: str, place: str) -> None:
    broken = model(session, name, "broken")
    broken.model_data = upload(session, f"{name}/broken", "broken", status=400)
    transformer = broken.transformer(1, INSTANCE, output_path=f"{place}/broken")
    _start(transformer, place, f"{name}-broken")
    try:
        session.wait_for_transform_job(f"{name}-broken", poll=1)
    except UnexpectedStatusException as error:
        assert error.actual_status == "Failed", error
    else:
        raise AssertionError("the job has not failed")
    broken.delete_model()
    try:
        _start(transformer, place, f"{name}-missing")
    except ClientError as error:
        assert error.response["Error"]["Code"] == "ValidationException", error


def _start(transformer: Transformer, place: str, job: str, **processing: str) -> None:
    how = {"content_type": LINES, "split_type": "Line", "wait": False}
    transformer.transform(f"{place}/input/", job_name=job, **how, **processing)
