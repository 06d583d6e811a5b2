"""Model Monitor through boto3: a baseline, captures, schedules, violations, metrics and an alarm that fires."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError

from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.server import Emulator
from tests.emulator.archives import archive
from tests.emulator.conftest import COMMAND, REGION, ROLE, Local
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
NAME, BUCKET = "monitored", "monitored-data"
IMAGE = "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/sagemaker-model-monitor-analyzer"
HOURLY = {"ScheduleExpression": "cron(0 * ? * * *)"}
NOW = {"ScheduleExpression": "NOW", "DataAnalysisStartTime": "-PT1H", "DataAnalysisEndTime": "PT0H"}
CLUSTER = {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 20}}
PATIENCE_S = 500.0  # of an execution, which starts a process, on a machine with much else to do
ENDED = ("Completed", "CompletedWithViolations", "Failed", "Stopped")


class Monitored:
    """An endpoint with data capture and a baseline, and what most tests do with them."""

    def __init__(self, local: Local) -> None:
        self.local = local
        self.sagemaker = local.sagemaker
        location = {"LocationConstraint": REGION}
        local.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=location)
        local.s3.put_object(Bucket="models", Key=f"{NAME}/model.tar.gz", Body=archive("one"))
        local.model(NAME, multi_model=False)
        self.config(NAME, captured=True)
        self.config("uncaptured", captured=False)
        for name in (NAME, "uncaptured"):
            self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        for name in (NAME, "uncaptured"):
            local.wait(name)

    def config(self, name: str, captured: bool) -> None:
        variant = {"VariantName": "AllTraffic", "ModelName": NAME, "InstanceType": "ml.m5.xlarge"}
        capture = {
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": f"s3://{BUCKET}/live",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
        }
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[variant | {"InitialInstanceCount": 1}],
            **({"DataCaptureConfig": capture} if captured else {}),
        )

    def make_baseline(self) -> None:
        rows = "x,y\n" + table(np.random.default_rng(1).normal(size=(400, 2)))
        self.local.s3.put_object(Bucket=BUCKET, Key="train/train.csv", Body=rows.encode())
        self.run_baseline("baselining", "train/train.csv", "Completed")

    def run_baseline(
        self, name: str, key: str, status: str, target: str = "baseline", **environment: str
    ) -> dict[str, Any]:
        given, written = "/opt/ml/processing/input", "/opt/ml/processing/output"
        environment |= {"dataset_format": '{"csv": {"header": true}}', "dataset_source": given, "output_path": written}
        self.sagemaker.create_processing_job(
            ProcessingJobName=name,
            AppSpecification={"ImageUri": IMAGE},
            RoleArn=ROLE,
            ProcessingResources=CLUSTER,
            Environment=environment,
            ProcessingInputs=[
                {
                    "InputName": "in",
                    "S3Input": {
                        "S3Uri": f"s3://{BUCKET}/{key}",
                        "LocalPath": given,
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                    },
                }
            ],
            ProcessingOutputConfig={
                "Outputs": [
                    {
                        "OutputName": "out",
                        "S3Output": {
                            "S3Uri": f"s3://{BUCKET}/{target}",
                            "LocalPath": written,
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                ]
            },
        )
        described: dict[str, Any] = wait_for(
            lambda: (
                seen
                if (seen := self.sagemaker.describe_processing_job(ProcessingJobName=name))["ProcessingJobStatus"]
                != "InProgress"
                else None
            ),
            "the end of the baselining job",
            PATIENCE_S,
        )
        assert described["ProcessingJobStatus"] == status, described
        return described

    def define(self, name: str, **members: Any) -> None:
        baseline = {
            f"{kind}Resource": {"S3Uri": f"s3://{BUCKET}/baseline/{kind.lower()}.json"}
            for kind in ("Statistics", "Constraints")
        }
        definition = {
            "DataQualityBaselineConfig": baseline,
            "DataQualityAppSpecification": {"ImageUri": IMAGE},
            "DataQualityJobInput": {"EndpointInput": {"EndpointName": NAME, "LocalPath": "/opt/ml/processing/e"}},
            "DataQualityJobOutputConfig": {
                "MonitoringOutputs": [
                    {"S3Output": {"S3Uri": f"s3://{BUCKET}/reports", "LocalPath": "/opt/ml/processing/o"}}
                ]
            },
        }
        self.sagemaker.create_data_quality_job_definition(
            JobDefinitionName=name, JobResources=CLUSTER, RoleArn=ROLE, **(definition | members)
        )

    def schedule(self, name: str, when: dict[str, str], definition: str = "quality", **members: Any) -> None:
        config = {"ScheduleConfig": when, "MonitoringType": "DataQuality", "MonitoringJobDefinitionName": definition}
        self.sagemaker.create_monitoring_schedule(
            MonitoringScheduleName=name, MonitoringScheduleConfig=config | members
        )

    def executions(self, name: str, **members: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.sagemaker.list_monitoring_executions(
            MonitoringScheduleName=name, SortOrder="Ascending", **members
        )["MonitoringExecutionSummaries"]
        return found

    def ended(self, name: str, status: str) -> dict[str, Any]:
        """Wait until an execution has ended with this status."""
        found: list[dict[str, Any]] = wait_for(
            lambda: [item for item in self.executions(name) if item["MonitoringExecutionStatus"] == status],
            f"an execution of {name} that is {status}",
            PATIENCE_S,
        )
        return found[0]

    def outcome(self, name: str) -> dict[str, Any]:
        """Wait until the only execution has ended."""
        (found,) = wait_for(
            lambda: [item for item in self.executions(name) if item["MonitoringExecutionStatus"] in ENDED],
            f"the end of the execution of {name}",
            PATIENCE_S,
        )
        return dict(found)

    def call(self, mean: float, seed: int) -> None:
        rows = np.random.default_rng(seed).normal(size=(200, 2))
        rows[:, 0] += mean
        self.local.runtime.invoke_endpoint(EndpointName=NAME, Body=table(rows), ContentType="text/csv")

    def report(self, execution: dict[str, Any], file: str) -> Any:
        """Return a file of an execution's, by way of its processing job."""
        name = execution["ProcessingJobArn"].rsplit("/", 1)[1]
        job = self.sagemaker.describe_processing_job(ProcessingJobName=name)
        assert job["AppSpecification"] == {"ImageUri": IMAGE} and job["ProcessingResources"] == CLUSTER
        # SageMaker's SDK reads them of each execution.
        assert "constraints" in {item["InputName"] for item in job["ProcessingInputs"] if item["S3Input"]["LocalPath"]}
        uri: str = job["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
        prefix = uri.removeprefix(f"s3://{BUCKET}/")
        assert prefix.startswith(f"reports/{NAME}/{execution['MonitoringScheduleName']}/")
        return json.loads(self.local.s3.get_object(Bucket=BUCKET, Key=f"{prefix}/{file}")["Body"].read())


def table(rows: Any) -> str:
    return "\n".join(",".join(f"{cell:.5f}" for cell in row) for row in rows) + "\n"


@pytest.fixture(scope="module")
def monitored() -> Iterator[Monitored]:
    with Emulator(EmulatorConfig(port=0, command=COMMAND, time_scale=0.02)) as emulator:
        made = Monitored(Local(emulator))
        made.make_baseline()
        made.define("quality")
        yield made


def test_a_schedule_finds_drift_and_an_alarm_fires(monitored: Monitored) -> None:
    monitored.schedule("hourly", HOURLY)  # an hour has 72 s
    cloudwatch = monitored.local.emulator.client("cloudwatch", REGION)
    cloudwatch.put_metric_alarm(
        AlarmName="drift-of-x",
        Namespace="aws/sagemaker/Endpoints/data-metrics",
        MetricName="feature_baseline_drift_x",
        Dimensions=[{"Name": "Endpoint", "Value": NAME}, {"Name": "MonitoringSchedule", "Value": "once"}],
        Statistic="Maximum",
        Period=3600,
        EvaluationPeriods=1,
        Threshold=0.1,
        ComparisonOperator="GreaterThanThreshold",
    )
    monitored.call(0.0, seed=2)
    monitored.schedule("before", NOW)
    before = monitored.outcome("before")
    assert before["MonitoringExecutionStatus"] == "Completed", before
    assert monitored.report(before, "constraint_violations.json") == {"violations": []}
    assert monitored.report(before, "statistics.json")["dataset"]["item_count"] == 200

    for seed in range(3, 8):
        monitored.call(2.0, seed)
    monitored.schedule("once", NOW)
    found = monitored.outcome("once")
    assert (found["MonitoringExecutionStatus"], found["EndpointName"]) == ("CompletedWithViolations", NAME)
    (violation,) = monitored.report(found, "constraint_violations.json")["violations"]
    assert (violation["feature_name"], violation["constraint_check_type"]) == ("x", "baseline_drift_check")
    described = monitored.sagemaker.describe_monitoring_schedule(MonitoringScheduleName="once")
    assert described["LastMonitoringExecutionSummary"]["MonitoringExecutionStatus"] == "CompletedWithViolations"
    wait_for(
        lambda: cloudwatch.describe_alarms(AlarmNames=["drift-of-x"])["MetricAlarms"][0]["StateValue"] == "ALARM",
        "the alarm",
        PATIENCE_S,
    )
    assert monitored.ended("hourly", "CompletedWithViolations")["MonitoringJobDefinitionName"] == "quality"


def test_model_quality_is_compared_with_ground_truth(monitored: Monitored) -> None:
    """The container's prediction is the length of what it is sent."""
    s3, sagemaker = monitored.local.s3, monitored.sagemaker
    s3.put_object(Bucket=BUCKET, Key="validation/v.csv", Body=b"guess,truth\n1,1\n2,2.5\n3,3\n")
    settings = {"analysis_type": "MODEL_QUALITY", "problem_type": "Regression"}
    settings |= {"inference_attribute": "guess", "ground_truth_attribute": "truth"}
    monitored.run_baseline("quality-baseline", "validation/v.csv", "Completed", "quality-baseline", **settings)
    source = {"EndpointName": NAME, "LocalPath": "/opt/ml/processing/e", "InferenceAttribute": "length"}
    report = {"S3Output": {"S3Uri": f"s3://{BUCKET}/reports", "LocalPath": "/opt/ml/processing/o"}}
    sagemaker.create_model_quality_job_definition(
        JobDefinitionName="lengths",
        ModelQualityBaselineConfig={
            "ConstraintsResource": {"S3Uri": f"s3://{BUCKET}/quality-baseline/constraints.json"}
        },
        ModelQualityAppSpecification={"ImageUri": IMAGE, "ProblemType": "Regression"},
        ModelQualityJobInput={
            "EndpointInput": source,
            "GroundTruthS3Input": {"S3Uri": f"s3://{BUCKET}/truth"},
        },
        ModelQualityJobOutputConfig={"MonitoringOutputs": [report]},
        JobResources=CLUSTER,
        RoleArn=ROLE,
    )
    truth = ""
    for length in (2, 4, 8):
        monitored.local.runtime.invoke_endpoint(
            EndpointName=NAME, Body=b"1" * length, ContentType="text/csv", InferenceId=f"length-{length}"
        )
        known = {"groundTruthData": {"data": str(length + 3), "encoding": "CSV"}, "eventVersion": "0"}
        truth += json.dumps(known | {"eventMetadata": {"eventId": f"length-{length}"}}) + "\n"
    s3.put_object(Bucket=BUCKET, Key=f"truth/{datetime.now(UTC):%Y/%m/%d/%H}/labels.jsonl", Body=truth.encode())
    config = {"ScheduleConfig": NOW, "MonitoringType": "ModelQuality", "MonitoringJobDefinitionName": "lengths"}
    sagemaker.create_monitoring_schedule(MonitoringScheduleName="lengths", MonitoringScheduleConfig=config)
    found = monitored.outcome("lengths")
    assert (found["MonitoringExecutionStatus"], found["MonitoringType"]) == ("CompletedWithViolations", "ModelQuality")
    statistics = monitored.report(found, "statistics.json")
    assert (statistics["dataset"]["item_count"], statistics["regression_metrics"]["mae"]["value"]) == (3, 3.0)
    names = [item["metric_name"] for item in monitored.report(found, "constraint_violations.json")["violations"]]
    assert "mae" in names
    listed = sagemaker.list_model_quality_job_definitions()["JobDefinitionSummaries"]
    assert [item["MonitoringJobDefinitionName"] for item in listed] == ["lengths"]
    metric = monitored.local.emulator.client("cloudwatch", REGION).list_metrics(
        Namespace="aws/sagemaker/Endpoints/model-metrics", MetricName="mae"
    )["Metrics"][0]
    assert {item["Name"]: item["Value"] for item in metric["Dimensions"]} == {
        "Endpoint": NAME,
        "MonitoringSchedule": "lengths",
    }
    sagemaker.delete_model_quality_job_definition(JobDefinitionName="lengths")


def test_schedules_are_described_listed_stopped_and_deleted(monitored: Monitored) -> None:
    monitored.schedule("kept", {"ScheduleExpression": "cron(0 3 ? * * *)"})
    sagemaker = monitored.sagemaker
    seen = sagemaker.describe_monitoring_schedule(MonitoringScheduleName="kept")
    assert (seen["MonitoringScheduleStatus"], seen["EndpointName"]) == ("Scheduled", NAME)
    assert seen["MonitoringScheduleConfig"]["ScheduleConfig"] == {"ScheduleExpression": "cron(0 3 ? * * *)"}
    listed = sagemaker.list_monitoring_schedules(EndpointName=NAME, NameContains="kept")["MonitoringScheduleSummaries"]
    assert [item["MonitoringScheduleArn"] for item in listed] == [seen["MonitoringScheduleArn"]]
    sagemaker.stop_monitoring_schedule(MonitoringScheduleName="kept")
    assert sagemaker.list_monitoring_schedules(StatusEquals="Stopped", NameContains="kept")[
        "MonitoringScheduleSummaries"
    ]
    sagemaker.start_monitoring_schedule(MonitoringScheduleName="kept")
    config = {
        "ScheduleConfig": {"ScheduleExpression": "cron(0 4 ? * * *)"},
        "MonitoringType": "DataQuality",
        "MonitoringJobDefinitionName": "quality",
    }
    sagemaker.update_monitoring_schedule(MonitoringScheduleName="kept", MonitoringScheduleConfig=config)
    seen = sagemaker.describe_monitoring_schedule(MonitoringScheduleName="kept")
    assert seen["MonitoringScheduleConfig"] == config
    sagemaker.delete_monitoring_schedule(MonitoringScheduleName="kept")
    with pytest.raises(ClientError) as caught:
        sagemaker.describe_monitoring_schedule(MonitoringScheduleName="kept")
    assert caught.value.response["Error"]["Code"] == "ResourceNotFound"

    monitored.define("spare")
    names = [
        item["MonitoringJobDefinitionName"]
        for item in sagemaker.list_data_quality_job_definitions(EndpointName=NAME)["JobDefinitionSummaries"]
    ]
    assert {"quality", "spare"} <= {*names}
    seen = sagemaker.describe_data_quality_job_definition(JobDefinitionName="spare")
    assert seen["DataQualityAppSpecification"] == {"ImageUri": IMAGE}
    sagemaker.delete_data_quality_job_definition(JobDefinitionName="spare")
    with pytest.raises(ClientError, match="Job Definition spare does not exist"):
        sagemaker.describe_data_quality_job_definition(JobDefinitionName="spare")


def test_failures_are_told(monitored: Monitored) -> None:
    at = {"ScheduleExpression": "NOW", "DataAnalysisStartTime": "-P9D", "DataAnalysisEndTime": "-P8D"}
    monitored.schedule("no-data", at)
    found = monitored.outcome("no-data")
    assert (found["MonitoringExecutionStatus"], found["FailureReason"]) == ("Failed", "Job inputs had no data")
    where = {f"{kind}Resource": {"S3Uri": f"s3://{BUCKET}/none/x.json"} for kind in ("Statistics", "Constraints")}
    monitored.define("no-baseline", DataQualityBaselineConfig=where)
    monitored.call(0.0, seed=9)
    monitored.schedule("no-baseline", NOW, "no-baseline")
    reason = monitored.outcome("no-baseline")["FailureReason"]
    assert reason.startswith(f"ClientError: there is no object at s3://{BUCKET}/none/x.json")
    monitored.local.s3.put_object(Bucket=BUCKET, Key="empty/empty.csv", Body=b"")
    failed = monitored.run_baseline("bad-baselining", "empty/", "Failed")
    assert "cannot read the data set empty.csv" in failed["FailureReason"]


@pytest.mark.parametrize(
    ("when", "members", "message"),
    [
        ({"ScheduleExpression": "rate(1 hour)"}, {}, "ScheduleExpression 'rate.1 hour.' is invalid: it must be NOW"),
        ({"ScheduleExpression": "NOW"}, {}, "needs DataAnalysisStartTime and DataAnalysisEndTime"),
        (NOW | {"DataAnalysisStartTime": "soon"}, {}, "DataAnalysisStartTime 'soon' is invalid"),
        (NOW | {"DataAnalysisStartTime": "PT1H"}, {}, "is not before DataAnalysisEndTime"),
        (NOW, {"MonitoringType": "ModelBias"}, "does not support MonitoringType ModelBias"),
        (NOW, {"MonitoringJobDefinitionName": "none"}, "Job Definition none does not exist"),
    ],
)
def test_invalid_schedules_are_rejected(
    monitored: Monitored, when: dict[str, str], members: dict[str, str], message: str
) -> None:
    with pytest.raises(ClientError, match=message):
        monitored.schedule("rejected", when, **members)
    with pytest.raises(ClientError, match="Monitoring Schedule rejected does not exist"):
        monitored.sagemaker.describe_monitoring_schedule(MonitoringScheduleName="rejected")


def test_invalid_definitions_are_rejected(monitored: Monitored) -> None:
    def endpoint(name: str, **members: str) -> dict[str, Any]:
        return {"DataQualityJobInput": {"EndpointInput": {"EndpointName": name, "LocalPath": "/x", **members}}}

    for members, message in (
        ({"DataQualityAppSpecification": {"ImageUri": "mine"}}, "does not run the image mine"),
        ({"DataQualityBaselineConfig": {}}, "has no ConstraintsResource"),
        (endpoint(NAME, ExcludeFeaturesAttribute="1"), "does not support ExcludeFeaturesAttribute"),
        (endpoint(NAME, StartTimeOffset="xPx"), "StartTimeOffset 'xPx' is invalid"),
    ):
        with pytest.raises(ClientError, match=message):
            monitored.define("rejected", **members)
    for name, message in (("none", 'Could not find endpoint "none"'), ("uncaptured", "has no data capture")):
        monitored.define(name, **endpoint(name))
        with pytest.raises(ClientError, match=message):
            monitored.schedule("rejected", NOW, name)
    with pytest.raises(ClientError) as caught:
        monitored.define("quality")
    assert caught.value.response["Error"]["Code"] == "ResourceInUse"
