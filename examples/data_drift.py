"""Digits that get noisier over a week, and the alarm that tells: data capture and Model Monitor through boto3.

An endpoint recognizes handwritten digits and captures what it is sent. A baselining job makes statistics and
constraints of the training images. Then the days of a week follow, an hour for each: the camera gets worse, an hourly
schedule compares what was captured with the baseline, and a CloudWatch alarm watches the distance of one pixel. The
environment alone decides where it runs. Here, offline, with `polyhost emulator --time-scale 0.01` in another shell, in
which an hour takes 36 s; the emulator's environment needs the extra `drift`:

    eval "$(polyhost emulator env)"
    python -m examples.data_drift

On AWS: credentials, a region, an image in ECR, `--image`, `--role ARN`, and `--analyzer` with the address of Model
Monitor's image in your region (developer guide, model-monitor-pre-built-container).
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import joblib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from examples.account import CAPACITY, Account, Resources, argument_parser

NAME = "digits-drift"
PIXELS = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
WATCHED = "pixel_0_0"  # a corner, which is white in every digit
PER_DAY = 200  # images
NOISE = 0.7  # more with each day: its standard deviation, of grey levels from 0 to 16
LOOK_S = 1.0
NO_DATA = "Job inputs had no data"  # of an hour that begins or ends between two days
ANALYZER = "sagemaker-model-monitor-analyzer"
CLUSTER = {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 20}}
_LOCAL = "/opt/ml/processing"


class Digits:
    """The images: half to train on and for the baseline, half to be sent in the week."""

    def __init__(self) -> None:
        images, self.classes = load_digits(return_X_y=True)
        self.images = images.astype(int)
        self.half = len(images) // 2
        self._random = np.random.default_rng(7)

    def train(self, folder: Path) -> Path:
        """Write a model's folder."""
        folder.mkdir()
        model = LogisticRegression(max_iter=2000).fit(self.images[: self.half], self.classes[: self.half])
        joblib.dump(model, folder / "model.joblib")
        return folder

    def write_baseline(self, path: Path) -> Path:
        header = ",".join(PIXELS)
        np.savetxt(path, self.images[: self.half], fmt="%d", delimiter=",", header=header, comments="")
        return path

    def day(self, number: int) -> tuple[Any, Any]:
        """Return images of a day with its noise, and their classes."""
        chosen = self._random.integers(self.half, len(self.images), PER_DAY)
        noise = self._random.normal(scale=NOISE * number, size=(PER_DAY, len(PIXELS)))
        return np.clip(np.round(self.images[chosen] + noise), 0, 16).astype(int), self.classes[chosen]


class Monitored:
    """The endpoint, its baseline, and the schedule that compares them."""

    def __init__(self, account: Account, analyzer: str) -> None:
        self._account = account
        self._sagemaker = account.sagemaker
        self._cloudwatch = boto3.client("cloudwatch")
        self._analyzer = analyzer
        self._data = f"s3://{account.bucket}/{NAME}"

    def create(self, resources: Resources, digits: Digits, folder: Path) -> None:
        """Create the endpoint with data capture."""
        url = self._account.upload_archive(digits.train(folder / "digits"), NAME)
        resources.create_model(NAME, PrimaryContainer={"Image": self._account.image, "ModelDataUrl": url})
        resources.create_endpoint_config(
            NAME,
            ProductionVariants=[{"VariantName": "AllTraffic", "ModelName": NAME, **CAPACITY}],
            DataCaptureConfig={
                "EnableCapture": True,
                "InitialSamplingPercentage": 100,
                "DestinationS3Uri": f"{self._data}/captures",
                "CaptureOptions": [{"CaptureMode": "Input"}],
                "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
            },
        )
        resources.create_endpoint(NAME, NAME)

    def make_baseline(self, digits: Digits, folder: Path) -> None:
        """Have statistics.json and constraints.json made of the training images."""
        dataset = self._account.upload(digits.write_baseline(folder / "train.csv"), f"{NAME}/train")
        job = f"{NAME}-{int(time.time())}"
        given, written = f"{_LOCAL}/input", f"{_LOCAL}/output"
        source = {"S3Uri": dataset, "LocalPath": given, "S3DataType": "S3Prefix", "S3InputMode": "File"}
        target = {"S3Uri": f"{self._data}/baseline", "LocalPath": written, "S3UploadMode": "EndOfJob"}
        self._sagemaker.create_processing_job(
            ProcessingJobName=job,
            AppSpecification={"ImageUri": self._analyzer},
            RoleArn=self._account.role,
            ProcessingResources=CLUSTER,
            Environment={
                "dataset_format": json.dumps({"csv": {"header": True}}),
                "dataset_source": given,
                "output_path": written,
                "publish_cloudwatch_metrics": "Disabled",
            },
            ProcessingInputs=[{"InputName": "baseline", "S3Input": source}],
            ProcessingOutputConfig={"Outputs": [{"OutputName": "result", "S3Output": target}]},
        )
        self._sagemaker.get_waiter("processing_job_completed_or_stopped").wait(ProcessingJobName=job)

    @contextmanager
    def schedule(self) -> Iterator[None]:
        """Compare captures and baseline every hour, while the block runs."""
        where = f"{_LOCAL}/endpoint"
        report = {"S3Output": {"S3Uri": f"{self._data}/reports", "LocalPath": f"{_LOCAL}/reports"}}
        self._sagemaker.create_data_quality_job_definition(
            JobDefinitionName=NAME,
            DataQualityBaselineConfig={
                "StatisticsResource": {"S3Uri": f"{self._data}/baseline/statistics.json"},
                "ConstraintsResource": {"S3Uri": f"{self._data}/baseline/constraints.json"},
            },
            DataQualityAppSpecification={
                "ImageUri": self._analyzer,
                "Environment": {"publish_cloudwatch_metrics": "Enabled"},
            },
            DataQualityJobInput={"EndpointInput": {"EndpointName": NAME, "LocalPath": where}},
            DataQualityJobOutputConfig={"MonitoringOutputs": [report]},
            JobResources=CLUSTER,
            RoleArn=self._account.role,
        )
        self._sagemaker.create_monitoring_schedule(
            MonitoringScheduleName=NAME,
            MonitoringScheduleConfig={
                "ScheduleConfig": {"ScheduleExpression": "cron(0 * ? * * *)"},
                "MonitoringJobDefinitionName": NAME,
                "MonitoringType": "DataQuality",
            },
        )
        try:
            yield
        finally:
            self._sagemaker.delete_monitoring_schedule(MonitoringScheduleName=NAME)
            self._sagemaker.delete_data_quality_job_definition(JobDefinitionName=NAME)

    @contextmanager
    def alarm(self) -> Iterator[None]:
        """Watch one pixel, while the block runs."""
        self._cloudwatch.put_metric_alarm(
            AlarmName=NAME,
            Namespace="aws/sagemaker/Endpoints/data-metrics",
            MetricName=f"feature_baseline_drift_{WATCHED}",
            Dimensions=[{"Name": "Endpoint", "Value": NAME}, {"Name": "MonitoringSchedule", "Value": NAME}],
            Statistic="Maximum",
            Period=3600,
            EvaluationPeriods=1,
            Threshold=0.1,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="ignore",
        )
        try:
            yield
        finally:
            self._cloudwatch.delete_alarms(AlarmNames=[NAME])

    def call(self, images: Any, classes: Any) -> float:
        """Send a day's images, and return the share that is recognized."""
        body = "\n".join(",".join(map(str, image)) for image in images)
        response = self._account.runtime.invoke_endpoint(
            EndpointName=NAME, Body=body, ContentType="text/csv", Accept="application/json"
        )
        return float(np.mean(np.array(json.loads(response["Body"].read())) == classes))

    def result(self, since: float) -> str:
        """Wait for the execution that analyses what has been sent since then, and return its status."""
        while True:
            found = self._sagemaker.list_monitoring_executions(
                MonitoringScheduleName=NAME, SortBy="ScheduledTime", SortOrder="Ascending", ScheduledTimeAfter=since
            )["MonitoringExecutionSummaries"]
            for item in found:
                status, reason = item["MonitoringExecutionStatus"], item.get("FailureReason", "")
                if status not in ("Pending", "InProgress") and reason != NO_DATA:
                    return f"{status} ({reason})" if reason else str(status)
            time.sleep(LOOK_S)

    def alarm_state(self) -> str:
        found: str = self._cloudwatch.describe_alarms(AlarmNames=[NAME])["MetricAlarms"][0]["StateValue"]
        return found

    def wait_for_alarm(self) -> str:
        """Return the state of the alarm once it is evaluated with the last day's metric."""
        while (state := self.alarm_state()) != "ALARM":
            time.sleep(LOOK_S)
        return state


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argument_parser("data_drift", __doc__)
    parser.add_argument("--days", type=int, default=7, help="how many days the week has (default: %(default)s)")
    parser.add_argument("--analyzer", help="the address of Model Monitor's image")
    options = parser.parse_args(arguments)
    account = Account(options.image, options.role)
    analyzer = options.analyzer or f"{account.id}.dkr.ecr.{account.region}.amazonaws.com/{ANALYZER}"
    digits, monitored = Digits(), Monitored(account, analyzer)
    with tempfile.TemporaryDirectory(prefix="polyhost-example-") as folder, Resources(account) as resources:
        monitored.create(resources, digits, Path(folder))
        monitored.make_baseline(digits, Path(folder))
        with monitored.schedule(), monitored.alarm():
            for number in range(options.days):
                begin = time.time()
                recognized = monitored.call(*digits.day(number))
                result = monitored.result(begin)
                print(f"day {number + 1}: {recognized:.0%} recognized, {result}", flush=True)
            print(f"alarm on {WATCHED}: {monitored.wait_for_alarm()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
