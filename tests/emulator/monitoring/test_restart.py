"""Monitoring schedules and data capture in the next emulator with the same state."""

from pathlib import Path

import pytest

from polyhost.emulator.config import EmulatorConfig
from polyhost.emulator.server import Emulator
from tests.emulator.archives import archive
from tests.emulator.conftest import COMMAND, REGION, ROLE, Local
from tests.emulator.monitoring.test_monitoring import CLUSTER, HOURLY, IMAGE
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
NAME = "monitored-on"


def test_schedules_go_on_after_a_restart(tmp_path: Path) -> None:
    config = EmulatorConfig(port=0, command=COMMAND, time_scale=0.005, state=tmp_path)  # an hour has 18 s
    with Emulator(config) as emulator:
        _create(Local(emulator))
    with Emulator(config) as emulator:
        local = Local(emulator)
        local.wait(NAME)
        capture = local.sagemaker.describe_endpoint(EndpointName=NAME)["DataCaptureConfig"]
        assert (capture["CaptureStatus"], capture["DestinationS3Uri"]) == ("Started", "s3://models/captured")
        seen = local.sagemaker.describe_monitoring_schedule(MonitoringScheduleName=NAME)
        assert (seen["MonitoringScheduleStatus"], seen["EndpointName"]) == ("Scheduled", NAME)
        began = seen["LastModifiedTime"]
        # There is nothing to analyse: the executions tell that the schedule is followed.
        wait_for(
            lambda: local.sagemaker.list_monitoring_executions(
                MonitoringScheduleName=NAME, StatusEquals="Failed", CreationTimeAfter=began
            )["MonitoringExecutionSummaries"],
            "an execution",
        )
        local.sagemaker.delete_monitoring_schedule(MonitoringScheduleName=NAME)


def _create(local: Local) -> None:
    local.s3.put_object(Bucket="models", Key=f"{NAME}/model.tar.gz", Body=archive("one"))
    local.model(NAME, multi_model=False)
    variant = {"VariantName": "AllTraffic", "ModelName": NAME, "InstanceType": "ml.m5.xlarge"}
    local.sagemaker.create_endpoint_config(
        EndpointConfigName=NAME,
        ProductionVariants=[variant | {"InitialInstanceCount": 1}],
        DataCaptureConfig={
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": "s3://models/captured",
            "CaptureOptions": [{"CaptureMode": "Input"}],
        },
    )
    local.sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME)
    local.wait(NAME)
    baseline = {"S3Uri": "s3://models/baseline/"}
    definition = {
        "BaselineConfig": {"StatisticsResource": baseline, "ConstraintsResource": baseline},
        "MonitoringInputs": [{"EndpointInput": {"EndpointName": NAME, "LocalPath": "/opt/ml/processing/e"}}],
        "MonitoringOutputConfig": {
            "MonitoringOutputs": [{"S3Output": {"S3Uri": "s3://models/reports", "LocalPath": "/opt/ml/processing/o"}}]
        },
        "MonitoringResources": CLUSTER,
        "MonitoringAppSpecification": {"ImageUri": IMAGE},
        "RoleArn": ROLE,
    }
    local.sagemaker.create_monitoring_schedule(
        MonitoringScheduleName=NAME,
        MonitoringScheduleConfig={"ScheduleConfig": HOURLY, "MonitoringJobDefinition": definition},
    )
    assert local.emulator.client("sagemaker", REGION).list_monitoring_schedules()["MonitoringScheduleSummaries"]
