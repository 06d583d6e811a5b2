"""A killed emulator, and the next one with the same state."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from polyhost.processes import running_emulator
from tests.emulator.batch_transform.harness import COMMAND, logged
from tests.emulator.conftest import ROLE
from tests.support.command import run_polyhost
from tests.support.emulator import boto3_client
from tests.support.s3 import s3_server
from tests.support.waiting import wait_for

JOB = "interrupted"


def _create(url: str, environment: dict[str, str]) -> None:
    sagemaker = boto3_client(url, "sagemaker")
    sagemaker.create_model(ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": "batch"})
    sagemaker.create_transform_job(
        TransformJobName=JOB,
        ModelName="m",
        TransformInput={"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/in/"}}},
        TransformOutput={"S3OutputPath": "s3://data/out"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        Environment=environment,
    )


def _outputs(s3: Any) -> dict[str, bytes]:
    found = s3.list_objects_v2(Bucket="data", Prefix="out/").get("Contents", [])
    return {item["Key"]: s3.get_object(Bucket="data", Key=item["Key"])["Body"].read() for item in found}


def test_a_job_in_progress_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark, log = tmp_path / "mark", tmp_path / "requests"
    with s3_server() as (s3, variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        s3.create_bucket(Bucket="data")
        for name in ("1", "2"):
            s3.put_object(Bucket="data", Key=f"in/{name}", Body=name.encode() + b" b")
        options = ["--state", str(tmp_path / "state"), "--command", shlex.join(COMMAND)]
        options += ["--s3-endpoint", variables["AWS_ENDPOINT_URL_S3"]]
        with running_emulator(tmp_path, *options) as emulator:
            _create(emulator.url, {"BATCH_LOG": str(log), "BATCH_WAIT": str(mark), "BATCH_WAITS": "2 b"})
            wait_for(lambda: log.exists() and len(logged(log)) == 2, "a request that gets no response", 60.0)
            assert _outputs(s3) == {"out/1.out": b"1 B"}
            emulator.process.popen.kill()
            emulator.process.popen.wait()
            wait_for(lambda: not emulator.process.processes(), "the end of the containers", 60.0)
        mark.touch()
        with running_emulator(tmp_path, *options) as emulator:
            sagemaker = boto3_client(emulator.url, "sagemaker")
            sagemaker.get_waiter("transform_job_completed_or_stopped").wait(TransformJobName=JOB)
            job = sagemaker.describe_transform_job(TransformJobName=JOB)
            assert job["TransformJobStatus"] == "Completed"
            assert _outputs(s3) == {"out/1.out": b"1 B", "out/2.out": b"2 B"}
            said = emulator.process.log.read_text()
            assert f"transform job {JOB} runs, again from its first object: the emulator ended while it was" in said
        # A job that has ended stays as it is.
        count = len(logged(log))
        with running_emulator(tmp_path, *options) as emulator:
            sagemaker = boto3_client(emulator.url, "sagemaker")
            again = sagemaker.describe_transform_job(TransformJobName=JOB)
            assert (again["TransformJobStatus"], again["TransformEndTime"]) == ("Completed", job["TransformEndTime"])
            with pytest.raises(sagemaker.exceptions.ClientError, match="the transform job is in status Completed"):
                sagemaker.stop_transform_job(TransformJobName=JOB)
            assert len(logged(log)) == count


def test_an_emulator_that_is_stopped_ends_its_jobs_containers(tmp_path: Path) -> None:
    log = tmp_path / "requests"
    options = ["--state", str(tmp_path / "state"), "--command", shlex.join(COMMAND)]
    with running_emulator(tmp_path, *options) as emulator:
        s3 = boto3_client(emulator.url, "s3")
        s3.create_bucket(Bucket="data")
        s3.put_object(Bucket="data", Key="in/1", Body=b"a")
        _create(emulator.url, {"BATCH_LOG": str(log), "BATCH_WAIT": str(tmp_path / "never")})
        wait_for(lambda: log.exists() and logged(log), "a request", 60.0)
        (pid,) = {request["pid"] for request in logged(log)}
    # Leaving the block stops the emulator, and raises ProcessError if a process is left.
    assert not Path(f"/proc/{pid}").exists()
    assert '"InProgress"' in (tmp_path / "state" / "resources.json").read_text()


def test_a_saved_job_that_cannot_be_read_keeps_the_emulator_from_starting(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with running_emulator(tmp_path, "--state", str(state), "--command", shlex.join(COMMAND)) as emulator:
        boto3_client(emulator.url, "s3").create_bucket(Bucket="data")
        _create(emulator.url, {})
    path = state / "resources.json"
    text = path.read_text().replace('"Status": "Failed"', '"Status": "InProgress"').replace('"containers"', '"boxes"')
    path.write_text(text)
    done = run_polyhost("emulator", "--port", "0", "--state", state)
    assert done.returncode == 1
    assert f"cannot restore transform job {JOB} from the saved state (KeyError('containers')); fix the" in done.stderr


def test_a_job_that_was_not_yet_created_when_the_emulator_ended_is_gone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    options = ["--state", str(state), "--command", shlex.join(COMMAND)]
    with running_emulator(tmp_path, *options) as emulator:
        boto3_client(emulator.url, "s3").create_bucket(Bucket="data")
        _create(emulator.url, {})
    path = state / "resources.json"
    content = json.loads(path.read_text())
    (job,) = (item for item in content["resources"] if item["kind"] == "transform-job")
    job["changes"] = {}
    path.write_text(json.dumps(content))
    with running_emulator(tmp_path, *options) as emulator:
        assert boto3_client(emulator.url, "sagemaker").list_transform_jobs()["TransformJobSummaries"] == []
