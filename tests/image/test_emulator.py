"""The notebook as a script, against the emulator's docker driver and the real image."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.image.engine import REPOSITORY, docker, inspect
from tests.integration.test_emulator import BUCKET, PREFIX, REGION, invoke_more_than_fits, kill_under_load, running
from tests.support.waiting import wait_for

pytestmark = pytest.mark.image

SCRIPT = """
def model_fn(model_dir):
    return None

def predict_fn(values, model):
    return [float({expression}) for value in values]
"""


@pytest.mark.timeout(600)
def test_notebook_runs_against_containers_of_the_engine(image: str, tmp_path: Path) -> None:
    with running(tmp_path, "--driver", "docker") as local:
        environ = {
            "AWS_ENDPOINT_URL": local.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "HOME": str(tmp_path),
            "PATH": os.environ["PATH"],
        }
        command = [sys.executable, "-m", "examples.multi_model_endpoint", "--image", image, "--deep", "34"]
        done = subprocess.run(command, cwd=REPOSITORY, env=environ, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}\n{local.log.read_text()[-3000:]}"
        assert "100 calls of 12 models at random" in done.stdout
        assert "probability=" in done.stdout
    assert not docker("ps", "--all", "--filter", "name=demo-multimodelendpoint", "--format", "{{.Names}}").stdout


@pytest.mark.timeout(600)
def test_containers_of_the_engine_evict_models_and_are_restarted(sklearn_image: str, tmp_path: Path) -> None:
    with running(tmp_path, "--driver", "docker", "--memory-scale", "0.25") as local:
        invoke_more_than_fits(local, sklearn_image)
        kill_under_load(local, sklearn_image)
    assert not docker("ps", "--all", "--filter", "name=evicting-i", "--filter", "name=killed-i", "--quiet").stdout


@pytest.mark.timeout(600)
def test_several_containers_of_the_engine_serve_in_series_and_directly(sklearn_image: str, tmp_path: Path) -> None:
    with running(tmp_path, "--driver", "docker") as local:
        for name, expression in (("add", "value + 1"), ("double", "value * 2")):
            local.upload(f"{name}.tar.gz", script=SCRIPT.format(expression=expression))
        containers = [
            {
                "ContainerHostname": name,
                "Image": sklearn_image,
                "ModelDataUrl": f"s3://{BUCKET}/{PREFIX}/{name}.tar.gz",
                "Environment": {"POLYHOST_FRONTEND": "native", "POLYHOST_ZYGOTES": "bare"},
            }
            for name in ("add", "double")
        ]
        for mode, target, expected in (
            ("Serial", {}, [4.0, 6.0]),
            ("Direct", {"TargetContainerHostname": "double"}, [2.0, 4.0]),
        ):
            name = mode.lower()
            how = {"InferenceExecutionConfig": {"Mode": mode}, "ExecutionRoleArn": "arn:aws:iam::123456789012:role/r"}
            local.sagemaker.create_model(ModelName=name, Containers=containers, **how)
            variant = {"VariantName": "v", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
            local.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
            local.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
            local.sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name)
            response = local.runtime.invoke_endpoint(
                EndpointName=name, ContentType="application/json", Body=b"[1, 2]", **target
            )
            assert json.loads(response["Body"].read()) == expected
            (instance,) = local.instances(name)
            assert 0 < sum(container["memory_used"] for container in instance["containers"]) < instance["memory_limit"]
            for container in ("add", "double"):
                found = inspect(f"{name}-{instance['id']}-{container}-1")
                assert found["Config"]["Hostname"] == container
                assert found["HostConfig"]["Memory"] == instance["memory_limit"]
    assert not docker("ps", "--all", "--filter", "name=serial-i", "--filter", "name=direct-i", "--quiet").stdout


@pytest.mark.timeout(600)
def test_a_serverless_endpoint_has_a_container_of_the_engine_per_call(sklearn_image: str, tmp_path: Path) -> None:
    name = "on-demand"
    with running(tmp_path, "--driver", "docker", "--serverless-idle", "20") as local:
        local.upload(f"{name}.tar.gz", script=SCRIPT.format(expression="value + 1"))
        container = {
            "Image": sklearn_image,
            "ModelDataUrl": f"s3://{BUCKET}/{PREFIX}/{name}.tar.gz",
            "Environment": {"POLYHOST_FRONTEND": "native", "POLYHOST_ZYGOTES": "bare"},
        }
        role = "arn:aws:iam::123456789012:role/r"
        local.sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=role)
        capacity = {"MemorySizeInMB": 1024, "MaxConcurrency": 1}
        variant = {"VariantName": "v", "ModelName": name, "ServerlessConfig": capacity}
        local.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        local.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        local.sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name)
        assert local.instances(name) == []
        response = local.runtime.invoke_endpoint(EndpointName=name, ContentType="application/json", Body=b"[1, 2]")
        assert json.loads(response["Body"].read()) == [2.0, 3.0]
        (instance,) = local.instances(name)
        found = inspect(f"{name}-{instance['id']}-1")
        assert found["HostConfig"]["Memory"] == instance["memory_limit"] == 1 << 30
        wait_for(lambda: not local.instances(name), "the end of the idle container")
        assert not docker("ps", "--all", "--filter", f"name={name}-i", "--quiet").stdout


@pytest.mark.timeout(600)
def test_image_without_the_label_is_rejected(engine: None, tmp_path: Path) -> None:
    with running(tmp_path, "--driver", "docker") as local:
        container = {"Image": "debian:bookworm-slim", "Mode": "MultiModel", "ModelDataUrl": "s3://sagemaker-models/x/"}
        with pytest.raises(local.sagemaker.exceptions.ClientError) as caught:
            local.sagemaker.create_model(
                ModelName="m", PrimaryContainer=container, ExecutionRoleArn="arn:aws:iam::123456789012:role/test"
            )
        assert "capabilities.multi-models=true Docker label" in str(caught.value)
        several = [{"Image": "debian:bookworm-slim"}] * 2
        with pytest.raises(local.sagemaker.exceptions.ClientError) as caught:
            local.sagemaker.create_model(
                ModelName="m", Containers=several, ExecutionRoleArn="arn:aws:iam::123456789012:role/test"
            )
        assert "capabilities.accept-bind-to-port=true Docker label" in str(caught.value)
        container["Image"] = "no-such-image:latest"
        with pytest.raises(local.sagemaker.exceptions.ClientError) as caught:
            local.sagemaker.create_model(
                ModelName="m", PrimaryContainer=container, ExecutionRoleArn="arn:aws:iam::123456789012:role/test"
            )
        assert "no-such-image:latest" in str(caught.value)
