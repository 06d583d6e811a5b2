"""The pytest fixture `sagemaker_local`, with transform jobs in a test suite that is not ours."""

from pathlib import Path

from tests.emulator.batch_transform.harness import COMMAND
from tests.emulator.test_pytest_plugin import run_pytest

SUITE = f"""
import pytest

@pytest.fixture(scope="session")
def sagemaker_local_config():
    from polyhost.emulator.config import EmulatorConfig
    return EmulatorConfig(port=0, command={COMMAND!r})

def test_transform_job(sagemaker_local):
    s3, sagemaker = sagemaker_local.client("s3"), sagemaker_local.client("sagemaker")
    s3.create_bucket(Bucket="mine")
    s3.put_object(Bucket="mine", Key="in/a.csv", Body=b"1,2\\n3,4\\n")
    sagemaker.create_model(
        ModelName="m", ExecutionRoleArn="arn:aws:iam::123456789012:role/any", PrimaryContainer={{"Image": "any"}}
    )
    sagemaker.create_transform_job(
        TransformJobName="job",
        ModelName="m",
        TransformInput={{
            "DataSource": {{"S3DataSource": {{"S3DataType": "S3Prefix", "S3Uri": "s3://mine/in/"}}}},
            "ContentType": "text/csv",
            "SplitType": "Line",
        }},
        TransformOutput={{"S3OutputPath": "s3://mine/out", "Accept": "text/csv", "AssembleWith": "Line"}},
        TransformResources={{"InstanceType": "ml.m5.large", "InstanceCount": 1}},
    )
    sagemaker.get_waiter("transform_job_completed_or_stopped").wait(TransformJobName="job")
    assert s3.get_object(Bucket="mine", Key="out/a.csv.out")["Body"].read() == b"3.0\\n7.0\\n"
"""


def test_a_transform_job_in_another_suite(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(SUITE)
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
