"""Model Monitor as a whole: its operations, and what runs in the background for them."""

from collections.abc import Mapping

from polyhost.emulator.api.control_plane.endpoint_registry import EndpointRegistry
from polyhost.emulator.api.control_plane.job_definitions import JobDefinitionOperations
from polyhost.emulator.api.control_plane.monitoring_schedules import MonitoringScheduleOperations
from polyhost.emulator.api.control_plane.operation import Operation
from polyhost.emulator.api.control_plane.processing_jobs import ProcessingJobOperations
from polyhost.emulator.api.control_plane.schedule_registry import ScheduleRegistry
from polyhost.emulator.api.control_plane.store import ResourceStore
from polyhost.emulator.monitoring.analysis import Analysis
from polyhost.emulator.monitoring.metrics import MonitoringMetrics
from polyhost.emulator.monitoring.spec import MonitoringType
from polyhost.emulator.telemetry.recorder import Recorder
from polyhost.emulator.time_scale import TimeScale


class ModelMonitor:
    """Assembles the parts; `operations` are for the control plane."""

    def __init__(
        self,
        store: ResourceStore,
        endpoints: EndpointRegistry,
        analysis: Analysis,
        recorder: Recorder,
        scale: TimeScale,
        url: str,
    ) -> None:
        self._registry = ScheduleRegistry(store, endpoints, analysis, MonitoringMetrics(url), recorder, scale)
        self._schedules = MonitoringScheduleOperations(store, endpoints, self._registry)
        self._jobs = ProcessingJobOperations(store, analysis)
        self.operations: Mapping[str, Operation] = {
            **JobDefinitionOperations(store, MonitoringType.DATA_QUALITY).operations,
            **JobDefinitionOperations(store, MonitoringType.MODEL_QUALITY).operations,
            **self._schedules.operations,
            **self._jobs.operations,
        }

    def restore(self) -> None:
        """Go on with what the store has from before."""
        self._jobs.restore()
        self._schedules.restore()

    async def close(self) -> None:
        """End everything in the background."""
        await self._registry.close()
        await self._jobs.close()
