"""Monitoring schedules: creation, changes, start, stop, deletion, descriptions, and what they have executed."""

from collections.abc import Mapping

from polyhost.emulator.api.control_plane.endpoint_registry import EndpointRegistry
from polyhost.emulator.api.control_plane.job_definitions import find_definition
from polyhost.emulator.api.control_plane.monitoring_specs import (
    offset_member,
    spec_of_definition,
    spec_of_inline_definition,
)
from polyhost.emulator.api.control_plane.operation import Members, Operation, OperationRequest
from polyhost.emulator.api.control_plane.pagination import list_page
from polyhost.emulator.api.control_plane.schedule_registry import ScheduleRegistry
from polyhost.emulator.api.control_plane.store import Resource, ResourceKind, ResourceStore
from polyhost.emulator.errors import AwsError, ResourceInUse, ResourceNotFound, ValidationException
from polyhost.emulator.monitoring.spec import MonitoringType, MonitorSpec
from polyhost.emulator.monitoring.timetable import NOW, Timetable

_KIND = ResourceKind.MONITORING_SCHEDULE
_DEFAULT_PAGE_SIZE = 10  # botocore, ListMonitoringSchedules and ListMonitoringExecutions
_TIMES = ("DataAnalysisStartTime", "DataAnalysisEndTime")


class MonitoringScheduleOperations:
    """Operations on schedules; executions go on in the background."""

    def __init__(self, store: ResourceStore, endpoints: EndpointRegistry, registry: ScheduleRegistry) -> None:
        self._store = store
        self._endpoints = endpoints
        self._registry = registry
        self.operations: Mapping[str, Operation] = {
            "CreateMonitoringSchedule": self._create,
            "UpdateMonitoringSchedule": self._update,
            "DescribeMonitoringSchedule": self._describe,
            "ListMonitoringSchedules": self._list,
            "StartMonitoringSchedule": self._start,
            "StopMonitoringSchedule": self._stop,
            "DeleteMonitoringSchedule": self._delete,
            "ListMonitoringExecutions": self._list_executions,
        }

    def restore(self) -> None:
        """Go on with the schedules that the store has from before, each from its next execution on."""
        for resource in self._store.of_kind(_KIND):
            for execution in resource.changes.get("Executions", []):
                if execution["MonitoringExecutionStatus"] == "InProgress":
                    execution |= {
                        "MonitoringExecutionStatus": "Failed",
                        "FailureReason": "The emulator ended while the execution was in progress.",
                    }
            if resource.changes.get("Status") == "Scheduled":
                try:
                    self._begin(resource)
                except AwsError as error:  # such as a definition that has been deleted
                    resource.changes |= {"Status": "Failed", "FailureReason": error.message}

    async def _create(self, request: OperationRequest) -> Members:
        members = request.members
        if (existing := self._store.get(request.region, _KIND, members["MonitoringScheduleName"])) is not None:
            raise ResourceInUse(f"Monitoring Schedule {existing.arn} already exists")
        self._check(request.region, members["MonitoringScheduleConfig"])
        resource = self._store.create(request.region, _KIND, members)
        self._begin(resource)
        return {"MonitoringScheduleArn": resource.arn}

    async def _update(self, request: OperationRequest) -> Members:
        resource, config = self._resource(request), request.members["MonitoringScheduleConfig"]
        self._check(request.region, config)
        await self._registry.stop(resource)
        resource.request["MonitoringScheduleConfig"] = config
        self._begin(resource)
        return {"MonitoringScheduleArn": resource.arn}

    async def _start(self, request: OperationRequest) -> Members:
        resource = self._resource(request)
        if resource.changes["Status"] != "Scheduled":
            self._check(request.region, resource.request["MonitoringScheduleConfig"])
            self._begin(resource)
        return {}

    async def _stop(self, request: OperationRequest) -> Members:
        await self._registry.stop(self._resource(request))
        return {}

    async def _delete(self, request: OperationRequest) -> Members:
        resource = self._resource(request)
        await self._registry.stop(resource)
        self._store.remove(resource)
        return {}

    async def _describe(self, request: OperationRequest) -> Members:
        resource = self._resource(request)
        executions = resource.changes.get("Executions") or [None]
        return _summary(resource, self._spec(resource)) | {
            "MonitoringScheduleConfig": resource.request["MonitoringScheduleConfig"],
            "FailureReason": resource.changes.get("FailureReason"),
            "LastMonitoringExecutionSummary": executions[-1],
        }

    async def _list(self, request: OperationRequest) -> Members:
        members = request.members
        known = [_summary(item, self._spec(item)) for item in self._store.of_kind(_KIND, request.region)]
        names = {
            item["MonitoringScheduleName"]
            for item in known
            if members.get("StatusEquals") in (None, item["MonitoringScheduleStatus"])
            and _matches(item, members, "EndpointName", "MonitoringJobDefinitionName")
            and members.get("MonitoringTypeEquals") in (None, item["MonitoringType"])
        }
        matching = [item for item in self._store.of_kind(_KIND, request.region) if item.name in names]
        found, token = list_page(matching, members, _DEFAULT_PAGE_SIZE)
        summaries = [_summary(item, self._spec(item)) for item in found]
        return {"MonitoringScheduleSummaries": summaries, "NextToken": token}

    async def _list_executions(self, request: OperationRequest) -> Members:
        members = request.members
        by = members.get("SortBy") or "CreationTime"
        key = "MonitoringExecutionStatus" if by == "Status" else by
        matching = [
            execution
            for resource in self._store.of_kind(_KIND, request.region)
            for execution in resource.changes.get("Executions", [])
            if members.get("StatusEquals") in (None, execution["MonitoringExecutionStatus"])
            and members.get("MonitoringTypeEquals") in (None, execution["MonitoringType"])
            and _matches(execution, members, "MonitoringScheduleName", "EndpointName", "MonitoringJobDefinitionName")
            and _is_between(execution, members)
        ]
        matching.sort(key=lambda item: item[key], reverse=members.get("SortOrder") != "Ascending")
        token = members.get("NextToken") or "0"
        if not token.isdecimal():
            raise ValidationException("Invalid NextToken.")
        end = int(token) + (members.get("MaxResults") or _DEFAULT_PAGE_SIZE)
        page = matching[int(token) : end]
        return {"MonitoringExecutionSummaries": page, "NextToken": str(end) if end < len(matching) else None}

    def _check(self, region: str, config: Members) -> None:
        """Raise ValidationException for a schedule that the emulator cannot run."""
        spec = _config_spec(self._store, region, config)
        _timing(config)
        endpoint = self._endpoints.find_exact(region, spec.endpoint)
        if endpoint is None:
            raise ValidationException(f'Could not find endpoint "{spec.endpoint}".')
        if not any(variant.spec.capture is not None for variant in endpoint.variants):
            raise ValidationException(
                f"Endpoint {spec.endpoint} has no data capture; update it with a DataCaptureConfig first."
            )

    def _begin(self, resource: Resource) -> None:
        config = resource.request["MonitoringScheduleConfig"]
        spec, timing = _config_spec(self._store, resource.region, config), _timing(config)
        if isinstance(timing, Timetable):
            self._registry.start(resource, spec, timing)
        else:
            self._registry.run_once(resource, spec, *timing)

    def _spec(self, resource: Resource) -> MonitorSpec | None:
        """Return what a schedule monitors; None if its definition has been deleted."""
        try:
            return _config_spec(self._store, resource.region, resource.request["MonitoringScheduleConfig"])
        except AwsError:
            return None

    def _resource(self, request: OperationRequest) -> Resource:
        name = request.members["MonitoringScheduleName"]
        resource = self._store.get(request.region, _KIND, name)
        if resource is None:
            raise ResourceNotFound(f"Monitoring Schedule {name} does not exist; create it, or correct the name.")
        return resource


def _config_spec(store: ResourceStore, region: str, config: Members) -> MonitorSpec:
    """Return the job of a schedule. Raises ValidationException and ResourceNotFound."""
    kind = config.get("MonitoringType")
    if kind not in (None, *MonitoringType):
        raise ValidationException(
            f"The emulator does not support MonitoringType {kind}; it supports {', '.join(MonitoringType)}."
        )
    inline, name = config.get("MonitoringJobDefinition"), config.get("MonitoringJobDefinitionName")
    if (inline is None) == (name is None):
        raise ValidationException("Provide exactly one of MonitoringJobDefinition and MonitoringJobDefinitionName.")
    if inline is not None:
        if kind == MonitoringType.MODEL_QUALITY:
            raise ValidationException("ModelQuality needs a MonitoringJobDefinitionName.")
        return spec_of_inline_definition(inline)
    assert name is not None
    of = MonitoringType(kind or MonitoringType.DATA_QUALITY)
    return spec_of_definition(find_definition(store, region, name, of).request, of)


def _timing(config: Members) -> Timetable | tuple[float, float]:
    """Return when a schedule runs, or the offsets of what it analyses now. Raises ValidationException."""
    schedule = config.get("ScheduleConfig")
    if schedule is None:
        raise ValidationException("MonitoringScheduleConfig has no ScheduleConfig; give a ScheduleExpression.")
    expression = schedule["ScheduleExpression"]
    if expression != NOW:
        try:
            return Timetable.parse(expression)
        except ValueError as error:
            raise ValidationException(f"ScheduleExpression {expression!r} is invalid: {error}.") from None
    missing = [name for name in _TIMES if not schedule.get(name)]
    if missing:
        raise ValidationException(f"A schedule of NOW needs {' and '.join(missing)}, such as -PT1H and -PT0H.")
    start, end = (offset_member(name, schedule[name]) for name in _TIMES)
    if start >= end:
        raise ValidationException(f"DataAnalysisStartTime {schedule[_TIMES[0]]} is not before DataAnalysisEndTime.")
    return start, end


def _summary(resource: Resource, spec: MonitorSpec | None) -> Members:
    return {
        "MonitoringScheduleName": resource.name,
        "MonitoringScheduleArn": resource.arn,
        "CreationTime": resource.created,
        "LastModifiedTime": resource.modified,
        "MonitoringScheduleStatus": resource.changes["Status"],
        "EndpointName": spec.endpoint if spec is not None else None,
        "MonitoringJobDefinitionName": resource.request["MonitoringScheduleConfig"].get("MonitoringJobDefinitionName"),
        "MonitoringType": spec.type if spec is not None else None,
    }


def _matches(item: Members, members: Members, *names: str) -> bool:
    return all(members.get(name) in (None, item[name]) for name in names)


def _is_between(execution: Members, members: Members) -> bool:
    for name in ("ScheduledTime", "CreationTime", "LastModifiedTime"):
        after, before = members.get(f"{name}After"), members.get(f"{name}Before")
        if (after is not None and execution[name] < after) or (before is not None and execution[name] > before):
            return False
    return True
