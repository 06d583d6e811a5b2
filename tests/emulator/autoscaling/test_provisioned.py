"""Provisioned concurrency of a serverless variant follows its use."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.emulator.api.serverless_endpoints import host_serverless
from tests.emulator.autoscaling.harness import PROVISIONED, WAIT_S, ScaledEndpoint
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow


def test_provisioned_concurrency_follows_its_use(scaled: Callable[..., ScaledEndpoint], tmp_path: Path) -> None:
    endpoint, mark = scaled("provisioned", PROVISIONED), tmp_path / "go"
    settings = {"invoke_mark": str(mark)}
    host_serverless(endpoint.local, "provisioned", settings, MaxConcurrency=4, ProvisionedConcurrency=1)
    endpoint.register(1, 3)
    endpoint.track(0.7, "SageMakerVariantProvisionedConcurrencyUtilization")
    statuses: list[int] = []

    def invoke() -> None:
        response = endpoint.local.invoke("provisioned", None)
        statuses.append(response["ResponseMetadata"]["HTTPStatusCode"])

    callers = [threading.Thread(target=invoke) for _ in range(2)]
    for caller in callers:
        caller.start()
    wait_for(lambda: _provisioned(endpoint) == 3, "three provisioned containers", WAIT_S)
    assert endpoint.activities()[-1]["Description"] == "Setting desired provisioned concurrency to 3."
    mark.touch()
    for caller in callers:
        caller.join()
    wait_for(lambda: _provisioned(endpoint) == 1, "one provisioned container", WAIT_S)
    assert statuses == [200, 200]


def _provisioned(endpoint: ScaledEndpoint) -> int:
    current: int = endpoint.variant()["CurrentServerlessConfig"]["ProvisionedConcurrency"]
    return current


def test_limits_of_provisioned_concurrency(scaled: Callable[..., ScaledEndpoint]) -> None:
    endpoint = scaled("provisioned-limits", PROVISIONED)
    host_serverless(endpoint.local, "provisioned-limits", MaxConcurrency=2, ProvisionedConcurrency=1)
    error = endpoint.scaling.exceptions.ValidationException
    with pytest.raises(error, match="must not be above the variant's MaxConcurrency, 2"):
        endpoint.register(1, 3)
    with pytest.raises(error, match="begins at 1"):
        endpoint.register(0, 2)
    instances = endpoint.target | {"ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
    with pytest.raises(error, match="is serverless and has no instances"):
        endpoint.scaling.register_scalable_target(**instances, MinCapacity=1, MaxCapacity=2)
