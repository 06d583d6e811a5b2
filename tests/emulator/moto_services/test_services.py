"""The services of AWS besides hosting, on the same port, as far as scripts around an endpoint use them."""

import json
import os
from pathlib import Path

from boto3.s3.transfer import TransferConfig

from polyhost.emulator.config import ACCOUNT
from tests.emulator.conftest import REGION, Local


def test_multipart_upload_and_download(local: Local, tmp_path: Path) -> None:
    content = os.urandom(12 << 20)
    (tmp_path / "up").write_bytes(content)
    parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    local.s3.upload_file(str(tmp_path / "up"), "models", "large/object", Config=parts)
    local.s3.download_file("models", "large/object", str(tmp_path / "down"), Config=parts)
    assert (tmp_path / "down").read_bytes() == content
    (listed,) = local.s3.list_objects_v2(Bucket="models", Prefix="large/")["Contents"]
    assert listed["Size"] == len(content)


def test_sts_iam_ecr_and_sns_respond(local: Local) -> None:
    client = local.emulator.client
    assert client("sts", REGION).get_caller_identity()["Account"] == ACCOUNT
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    role = client("iam", REGION).create_role(RoleName="hosting", AssumeRolePolicyDocument=trust)["Role"]
    assert role["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/hosting"
    repository = client("ecr", REGION).create_repository(repositoryName="polyhost")["repository"]
    assert repository["repositoryUri"] == f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/polyhost"
    assert client("sns", REGION).create_topic(Name="done")["TopicArn"] == f"arn:aws:sns:{REGION}:{ACCOUNT}:done"


def test_auto_scaling_of_other_services_is_recorded(local: Local) -> None:
    ecs = local.emulator.client("ecs", REGION)
    ecs.create_cluster(clusterName="scaled")
    container = {"name": "web", "image": "web", "memory": 128}
    ecs.register_task_definition(family="web", containerDefinitions=[container])
    ecs.create_service(cluster="scaled", serviceName="web", taskDefinition="web", desiredCount=1)
    scaling = local.emulator.client("application-autoscaling", REGION)
    target = {
        "ServiceNamespace": "ecs",
        "ResourceId": "service/scaled/web",
        "ScalableDimension": "ecs:service:DesiredCount",
    }
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=4)
    (found,) = scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
    assert (found["MinCapacity"], found["MaxCapacity"]) == (1, 4)
