"""Endpoints of a stack that something else changes meanwhile, as scaling does."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from polyhost.emulator.cloudformation.calls import EmulatorCalls
from polyhost.emulator.cloudformation.physical import Physical
from polyhost.emulator.cloudformation.resource_types.sagemaker import EndpointType
from tests.emulator.conftest import REGION, Local


class _Outpaced(EmulatorCalls):
    """Calls of which one comes while another client has begun to change the endpoint; the change ends afterwards."""

    def __init__(self, local: Local, name: str, operation: str, held: Path) -> None:
        super().__init__(REGION, lambda service: local.emulator.client(service, REGION), threading.Event())
        self.made: list[str] = []
        self._local, self._name, self._operation, self._held = local, name, operation, held

    def call(self, service: str, operation: str, members: Mapping[str, Any]) -> dict[str, Any]:
        outpaced = operation == self._operation and operation not in self.made
        self.made.append(operation)
        if outpaced:
            self._held.touch()
            self._local.sagemaker.update_endpoint_weights_and_capacities(
                EndpointName=self._name,
                DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}],
            )
        try:
            return super().call(service, operation, members)
        finally:
            self._held.unlink(missing_ok=True)


@pytest.fixture
def held(tmp_path: Path) -> Path:
    return tmp_path / "held"


def test_an_update_waits_for_a_change_that_came_first(local: Local, held: Path) -> None:
    name = "outpaced-update"
    local.upload(name, "one")
    local.host(name, Environment={"SMALL_HOLD": str(held)})
    local.config("outpaced-update-2", model=name)
    calls = _Outpaced(local, name, "UpdateEndpoint", held)
    properties = {"EndpointName": name, "EndpointConfigName": "outpaced-update-2"}
    physical = Physical("arn", {}, name)
    EndpointType().update(calls, physical, properties, {})
    EndpointType().settle(calls, physical, properties)
    assert calls.made.count("UpdateEndpoint") == 2
    local.delete(name)
    local.sagemaker.delete_endpoint_config(EndpointConfigName="outpaced-update-2")


def test_a_deletion_waits_for_a_change_that_came_first(local: Local, held: Path) -> None:
    name = "outpaced-deletion"
    local.upload(name, "one")
    local.host(name, Environment={"SMALL_HOLD": str(held)})
    calls = _Outpaced(local, name, "DeleteEndpoint", held)
    EndpointType().delete(calls, Physical("arn", {}, name), {})
    assert calls.made.count("DeleteEndpoint") == 2
    with pytest.raises(ClientError):
        local.sagemaker.describe_endpoint(EndpointName=name)
    local.sagemaker.delete_endpoint_config(EndpointConfigName=name)
    local.sagemaker.delete_model(ModelName=name)
