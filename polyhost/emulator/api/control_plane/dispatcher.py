"""The control plane as a whole: SageMaker's operations on models, endpoints and jobs (sagemaker/2017-07-24)."""

from collections.abc import Mapping
from types import MappingProxyType

from polyhost.emulator.api.control_plane.endpoint_configs import EndpointConfigOperations
from polyhost.emulator.api.control_plane.endpoint_registry import EndpointRegistry
from polyhost.emulator.api.control_plane.endpoints import EndpointOperations
from polyhost.emulator.api.control_plane.models import ModelOperations
from polyhost.emulator.api.control_plane.operation import Operation, OperationRequest
from polyhost.emulator.api.control_plane.store import ResourceStore
from polyhost.emulator.api.control_plane.tags import TagOperations
from polyhost.emulator.api.control_plane.transform_job_registry import TransformJobRegistry
from polyhost.emulator.api.control_plane.transform_jobs import TransformJobOperations
from polyhost.emulator.api.service_model import ServiceModel
from polyhost.emulator.async_inference.notifications import Notifier
from polyhost.emulator.errors import ServiceUnavailable, UnknownOperation
from polyhost.emulator.hosting.interfaces import Driver


class ControlPlane:
    """Checks requests against botocore's model, and dispatches them to the operations of each resource."""

    def __init__(
        self,
        driver: Driver,
        store: ResourceStore,
        registry: EndpointRegistry,
        jobs: TransformJobRegistry,
        notifier: Notifier,
        monitoring: Mapping[str, Operation] = MappingProxyType({}),
    ) -> None:
        self._service = ServiceModel("sagemaker")
        self._closed = False
        self._operations: Mapping[str, Operation] = {
            **ModelOperations(driver, store).operations,
            **EndpointConfigOperations(store).operations,
            **EndpointOperations(store, registry, notifier).operations,
            **TransformJobOperations(store, jobs).operations,
            **TagOperations(store).operations,
            **monitoring,
        }

    async def call(self, region: str, operation: str, body: bytes, from_waiter: bool = False) -> bytes:
        """Run an operation and return the body of its response. Raises AwsError."""
        if self._closed:
            raise ServiceUnavailable("The emulator is shutting down.")
        members = self._service.parse(operation, body)
        run = self._operations.get(operation)
        if run is None:
            raise UnknownOperation(
                f"The emulator does not support the operation {operation}; it supports"
                f" {', '.join(sorted(self._operations))}."
            )
        return self._service.encode(operation, await run(OperationRequest(region, members, from_waiter)))

    def close(self) -> None:
        """Reject further operations: what they started would outlive the emulator."""
        self._closed = True
