"""Processing jobs: those that make a baseline, and the records of what monitoring schedules have run."""

import asyncio
import logging
import time
from collections.abc import Mapping

from polyhost.emulator.api.control_plane.monitoring_specs import check_image
from polyhost.emulator.api.control_plane.operation import Members, Operation, OperationRequest
from polyhost.emulator.api.control_plane.pagination import list_page
from polyhost.emulator.api.control_plane.store import Resource, ResourceKind, ResourceStore
from polyhost.emulator.errors import ResourceInUse, ResourceNotFound, ValidationException
from polyhost.emulator.hosting.change_watch import ChangeWatch
from polyhost.emulator.monitoring.analysis import Analysis, MonitoringError

logger = logging.getLogger(__name__)

_KIND = ResourceKind.PROCESSING_JOB
_IN_PROGRESS = "InProgress"
_DEFAULT_PAGE_SIZE = 10  # botocore, ListProcessingJobs
_DESCRIBE_WAIT_S, _WAITERS_WAIT_S = 20.0, 50.0


class ProcessingJobOperations:
    """Operations on processing jobs, of which the emulator runs those of Model Monitor's own image."""

    def __init__(self, store: ResourceStore, analysis: Analysis) -> None:
        self._store = store
        self._analysis = analysis
        self._watch = ChangeWatch()
        self._tasks: set[asyncio.Task[None]] = set()
        self.operations: Mapping[str, Operation] = {
            "CreateProcessingJob": self._create,
            "DescribeProcessingJob": self._describe,
            "ListProcessingJobs": self._list,
        }

    def restore(self) -> None:
        """Fail the jobs that the emulator's end broke off."""
        for resource in self._store.of_kind(_KIND):
            if resource.changes.get("Status", _IN_PROGRESS) == _IN_PROGRESS:
                reason = "The emulator ended while the job was in progress; create it anew."
                resource.changes |= {"Status": "Failed", "FailureReason": reason, "EndTime": time.time()}

    async def _create(self, request: OperationRequest) -> Members:
        members = request.members
        if (existing := self._store.get(request.region, _KIND, members["ProcessingJobName"])) is not None:
            raise ResourceInUse(
                "Job name must be unique within an AWS account and region, and a job with this name already exists"
                f" ({existing.arn})"
            )
        work = self._baseline(request.region, members)
        resource = self._store.create(request.region, _KIND, members)
        resource.changes |= {"Status": _IN_PROGRESS, "StartTime": time.time()}
        task = asyncio.create_task(self._run(resource, *work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return {"ProcessingJobArn": resource.arn}

    def _baseline(self, region: str, members: Members) -> tuple[str, Members, str, str | None]:
        """Return data set, settings, where the baseline goes, and its key.

        Raises ValidationException.
        """
        check_image(members["AppSpecification"]["ImageUri"])
        inputs = [item["S3Input"]["S3Uri"] for item in members.get("ProcessingInputs") or [] if item.get("S3Input")]
        config = members.get("ProcessingOutputConfig") or {"Outputs": []}
        outputs = [item["S3Output"]["S3Uri"] for item in config["Outputs"] if item.get("S3Output")]
        if len(inputs) != 1 or len(outputs) != 1:
            raise ValidationException(
                f"A baselining job has one input and one output in S3, but got {len(inputs)} and {len(outputs)}."
            )
        return inputs[0], _settings(members.get("Environment") or {}), outputs[0], config.get("KmsKeyId") or None

    async def _run(self, resource: Resource, dataset: str, settings: Members, output: str, key: str | None) -> None:
        try:
            await self._analysis.baseline(resource.region, dataset, settings, output, key)
        except MonitoringError as error:
            resource.changes |= {"Status": "Failed", "FailureReason": str(error)}
        except Exception as error:  # a client waits for the job's end
            logger.exception("processing job %s failed", resource.name)
            resource.changes |= {"Status": "Failed", "FailureReason": f"The emulator failed: {error!r}"}
        else:
            resource.changes |= {"Status": "Completed", "ExitMessage": "Completed: Job completed successfully."}
        resource.modified = resource.changes["EndTime"] = time.time()
        self._store.save()
        self._watch.announce()

    async def _describe(self, request: OperationRequest) -> Members:
        name = request.members["ProcessingJobName"]
        resource = self._store.get(request.region, _KIND, name)
        if resource is None:
            raise ResourceNotFound(f"Could not find requested job with name: {name}")
        if resource.changes["Status"] == _IN_PROGRESS:
            await self._watch.wait(_WAITERS_WAIT_S if request.from_waiter else _DESCRIBE_WAIT_S, request.from_waiter)
        return _described(resource)

    async def _list(self, request: OperationRequest) -> Members:
        wanted = request.members.get("StatusEquals")
        known = self._store.of_kind(_KIND, request.region)
        matching = [item for item in known if wanted in (None, item.changes["Status"])]
        found, token = list_page(matching, request.members, _DEFAULT_PAGE_SIZE)
        return {"ProcessingJobSummaries": [_described(item) for item in found], "NextToken": token}

    async def close(self) -> None:
        """Break off what is in progress."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _settings(environment: Members) -> Members:
    """Return the settings of a baselining job (developer guide, model-monitor-pre-built-container)."""
    given = environment.get("dataset_format") or '{"csv": {"header": true}}'
    settings: Members = {"header": '"header":false' not in "".join(given.lower().split())}
    if environment.get("analysis_type") != "MODEL_QUALITY":
        return settings | {"kind": "data-baseline"}
    names = ("problem_type", "inference_attribute", "ground_truth_attribute")
    if missing := [name for name in names if not environment.get(name)]:
        raise ValidationException(f"A baselining job of MODEL_QUALITY needs {', '.join(missing)} in Environment.")
    return settings | {"kind": "model-baseline"} | {name: environment[name] for name in names}


def _described(resource: Resource) -> Members:
    changes = resource.changes
    return resource.request | {
        "ProcessingJobArn": resource.arn,
        "ProcessingJobStatus": changes["Status"],
        "ExitMessage": changes.get("ExitMessage"),
        "FailureReason": changes.get("FailureReason"),
        "CreationTime": resource.created,
        "ProcessingStartTime": changes.get("StartTime"),
        "ProcessingEndTime": changes.get("EndTime"),
        "LastModifiedTime": resource.modified,
    }
