"""Monitoring schedules that run, and the records of their executions."""

import asyncio
import logging
import math
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from polyhost.emulator.api.control_plane.endpoint_registry import EndpointRegistry
from polyhost.emulator.api.control_plane.operation import Members
from polyhost.emulator.api.control_plane.store import Resource, ResourceKind, ResourceStore
from polyhost.emulator.monitoring.analysis import Analysis, MonitoringError
from polyhost.emulator.monitoring.metrics import MonitoringMetrics
from polyhost.emulator.monitoring.spec import MonitoringExecutionStatus, MonitorSpec, Window
from polyhost.emulator.monitoring.timetable import Timetable
from polyhost.emulator.telemetry.recorder import EventKind, Place, Recorder
from polyhost.emulator.time_scale import TimeScale

_KEPT_EXECUTIONS = 100

logger = logging.getLogger(__name__)


class ScheduleRegistry:
    """Runs the executions of schedules in the background, those of one schedule one after the other."""

    def __init__(
        self,
        store: ResourceStore,
        endpoints: EndpointRegistry,
        analysis: Analysis,
        metrics: MonitoringMetrics,
        recorder: Recorder,
        scale: TimeScale,
    ) -> None:
        self._store = store
        self._endpoints = endpoints
        self._analysis = analysis
        self._metrics = metrics
        self._recorder = recorder
        self._scale = scale
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by the schedule's ARN
        self._closing = False

    def start(self, resource: Resource, spec: MonitorSpec, timetable: Timetable) -> None:
        """Begin with the first execution that is due from now on."""
        self._begin(resource, self._follow(resource, spec, timetable))

    def run_once(self, resource: Resource, spec: MonitorSpec, start_s: float, end_s: float) -> None:
        """Run one execution now, which analyses the time between these offsets."""
        now, passing = time.time(), self._scale.passing
        # Captures have whole seconds.
        window = Window(float(math.floor(now + passing(start_s))), float(math.ceil(now + passing(end_s))))
        self._begin(resource, self._run_once(resource, spec, now, window))

    async def stop(self, resource: Resource) -> None:
        """End a schedule; an execution in progress is stopped."""
        if (task := self._tasks.pop(resource.arn, None)) is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._set_status(resource, "Stopped")

    async def close(self) -> None:
        """End all schedules; the store keeps them as they are."""
        self._closing = True
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _begin(self, resource: Resource, work: Any) -> None:
        self._set_status(resource, "Scheduled")
        self._tasks[resource.arn] = asyncio.create_task(work)

    async def _follow(self, resource: Resource, spec: MonitorSpec, timetable: Timetable) -> None:
        due = time.time()
        while True:
            due = timetable.next(due, self._scale)
            await asyncio.sleep(max(0.0, due - time.time()))
            await self._execute(resource, spec, due, timetable.window(due, spec, self._scale))

    async def _run_once(self, resource: Resource, spec: MonitorSpec, now: float, window: Window) -> None:
        await self._execute(resource, spec, now, window)
        self._set_status(resource, "Stopped")

    async def _execute(self, resource: Resource, spec: MonitorSpec, due: float, window: Window) -> None:
        job = self._record_job(resource, spec, due)
        execution = self._record_execution(resource, spec, due, job)
        try:
            endpoint = self._endpoints.find_exact(resource.region, spec.endpoint)
            if endpoint is None:
                raise MonitoringError(f"Endpoint {spec.endpoint} does not exist")
            output = job.request["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
            result = await self._analysis.monitor(endpoint, spec, window, output)
            if spec.emits_metrics:
                await self._metrics.publish(resource.region, spec, resource.name, result["metrics"])
        except MonitoringError as error:
            self._end(resource, execution, job, MonitoringExecutionStatus.FAILED, str(error))
        except asyncio.CancelledError:
            self._end(resource, execution, job, MonitoringExecutionStatus.STOPPED)
            raise
        except Exception as error:  # the next execution is not to be lost
            logger.exception("an execution of monitoring schedule %s failed", resource.name)
            self._end(resource, execution, job, MonitoringExecutionStatus.FAILED, f"The emulator failed: {error!r}")
        else:
            found = result["violations"]
            status = (
                MonitoringExecutionStatus.COMPLETED_WITH_VIOLATIONS if found else MonitoringExecutionStatus.COMPLETED
            )
            told = f"with {found} violations." if found else "with no violations."
            job.changes["ExitMessage"] = f"{status}: Job completed successfully {told}"
            self._end(resource, execution, job, status)

    def _record_job(self, resource: Resource, spec: MonitorSpec, due: float) -> Resource:
        at = datetime.fromtimestamp(due, UTC)
        hour = f"{spec.output.rstrip('/')}/{spec.endpoint}/{resource.name}/{at:%Y/%m/%d/%H}"
        # With a time scale, an hour has several executions.
        output = hour if self._scale.factor == 1 else f"{hour}/{at:%M-%S-%f}"
        target = {"S3Uri": output, "LocalPath": "/opt/ml/processing/output", "S3UploadMode": "EndOfJob"}
        job = self._store.create(
            resource.region,
            ResourceKind.PROCESSING_JOB,
            {
                "ProcessingJobName": f"model-monitoring-{at:%Y%m%d%H%M}-{uuid.uuid4().hex[:24]}",
                "ProcessingOutputConfig": {"Outputs": [{"OutputName": "monitoring_output", "S3Output": target}]},
                "ProcessingInputs": _processing_inputs(spec),
                "MonitoringScheduleArn": resource.arn,
                **spec.job,
            },
        )
        job.changes |= {"Status": "InProgress", "StartTime": time.time()}
        return job

    def _record_execution(self, resource: Resource, spec: MonitorSpec, due: float, job: Resource) -> Members:
        now = time.time()
        config = resource.request["MonitoringScheduleConfig"]
        execution: Members = {
            "MonitoringScheduleName": resource.name,
            "ScheduledTime": due,
            "CreationTime": now,
            "LastModifiedTime": now,
            "MonitoringExecutionStatus": MonitoringExecutionStatus.IN_PROGRESS,
            "ProcessingJobArn": job.arn,
            "EndpointName": spec.endpoint,
            "MonitoringJobDefinitionName": config.get("MonitoringJobDefinitionName"),
            "MonitoringType": spec.type,
        }
        executions = [*resource.changes.get("Executions", []), execution]
        for old in executions[:-_KEPT_EXECUTIONS]:
            name = old["ProcessingJobArn"].rpartition("/")[2]
            if (done := self._store.get(resource.region, ResourceKind.PROCESSING_JOB, name)) is not None:
                self._store.remove(done)
        resource.changes["Executions"] = executions[-_KEPT_EXECUTIONS:]
        self._store.save()
        return execution

    def _end(
        self,
        resource: Resource,
        execution: Members,
        job: Resource,
        status: MonitoringExecutionStatus,
        reason: str | None = None,
    ) -> None:
        now = time.time()
        execution |= {"MonitoringExecutionStatus": status, "FailureReason": reason, "LastModifiedTime": now}
        ended = (
            status
            if status in (MonitoringExecutionStatus.FAILED, MonitoringExecutionStatus.STOPPED)
            else MonitoringExecutionStatus.COMPLETED
        )
        job.changes |= {"Status": ended, "FailureReason": reason, "EndTime": now}
        job.modified = now
        self._store.save()
        place = Place(resource.region, execution["EndpointName"])
        text = f"monitoring schedule {resource.name}: {status}" + (f": {reason}" if reason else "")
        self._recorder.event(EventKind.MONITORING, place, text)

    def _set_status(self, resource: Resource, status: str) -> None:
        if not self._closing:
            resource.changes["Status"] = status
            resource.modified = time.time()
            self._store.save()


def _processing_inputs(spec: MonitorSpec) -> list[Members]:
    """Return what an execution reads beside the captures, as DescribeProcessingJob tells it."""
    named = {"baseline": spec.statistics, "constraints": spec.constraints, "ground_truth_input_1": spec.ground_truth}
    return [
        {
            "InputName": name,
            "S3Input": {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/{name}", "S3DataType": "S3Prefix"},
        }
        for name, uri in named.items()
        if uri
    ]
