"""Batch transform: CreateTransformJob, DescribeTransformJob, ListTransformJobs, StopTransformJob."""

from collections.abc import Mapping

from polyhost.emulator.api.control_plane.operation import Members, Operation, OperationRequest
from polyhost.emulator.api.control_plane.pagination import list_page
from polyhost.emulator.api.control_plane.store import Resource, ResourceKind, ResourceStore
from polyhost.emulator.api.control_plane.transform_job_registry import TransformJobRegistry
from polyhost.emulator.api.control_plane.transform_specs import hosting_spec, transform_spec
from polyhost.emulator.batch_transform.job import TransformJobStatus
from polyhost.emulator.errors import ResourceInUse, ValidationException

# How long DescribeTransformJob waits for the job's end; clients give up after 60 s. A waiter sleeps for 60 s after it.
_DESCRIBE_WAIT_S, _WAITERS_WAIT_S = 20.0, 50.0
_DEFAULT_PAGE_SIZE = 10  # botocore, ListTransformJobs


class TransformJobOperations:
    """Operations on transform jobs, which go on in the background after the response."""

    def __init__(self, store: ResourceStore, registry: TransformJobRegistry) -> None:
        self._store = store
        self._registry = registry
        self.operations: Mapping[str, Operation] = {
            "CreateTransformJob": self._create,
            "DescribeTransformJob": self._describe,
            "ListTransformJobs": self._list,
            "StopTransformJob": self._stop,
        }

    async def _create(self, request: OperationRequest) -> Members:
        region, members = request.region, request.members
        name = members["TransformJobName"]
        if (existing := self._store.get(region, ResourceKind.TRANSFORM_JOB, name)) is not None:
            raise ResourceInUse(
                "Transform job names must be unique within an AWS account and region, and a transform job with this"
                f" name already exists ({existing.arn})"
            )
        model = self._store.require(region, ResourceKind.MODEL, members["ModelName"])
        transform_spec(members)  # raises if the emulator cannot run it
        hosting = hosting_spec(members, model.request)
        resource = self._store.create(region, ResourceKind.TRANSFORM_JOB, members)
        self._registry.create(resource, hosting)
        return {"TransformJobArn": resource.arn}

    async def _describe(self, request: OperationRequest) -> Members:
        resource = self._resource(request)
        if (job := self._registry.find(resource)) is not None:
            wait_s = _WAITERS_WAIT_S if request.from_waiter else _DESCRIBE_WAIT_S
            await job.until_changed(wait_s, request.from_waiter)
        return _describe(resource)

    async def _list(self, request: OperationRequest) -> Members:
        wanted = request.members.get("StatusEquals")
        jobs = self._store.of_kind(ResourceKind.TRANSFORM_JOB, request.region)
        matching = [job for job in jobs if wanted in (None, job.changes["Status"])]
        found, token = list_page(matching, request.members, _DEFAULT_PAGE_SIZE)
        return {"TransformJobSummaries": [_summary(job) for job in found], "NextToken": token}

    async def _stop(self, request: OperationRequest) -> Members:
        resource = self._resource(request)
        job = self._registry.find(resource)
        if job is None or job.status is not TransformJobStatus.IN_PROGRESS:
            raise ValidationException(
                f"The request was rejected because the transform job is in status {resource.changes['Status']}."
            )
        job.stop()
        return {}

    def _resource(self, request: OperationRequest) -> Resource:
        name = request.members["TransformJobName"]
        resource = self._store.get(request.region, ResourceKind.TRANSFORM_JOB, name)
        if resource is None:
            raise ValidationException(f"Could not find requested job with name: {name}")
        return resource


def _describe(job: Resource) -> Members:
    """Return the request with the values of what it leaves out, and what has become of the job."""
    request = job.request
    return request | {
        "TransformJobArn": job.arn,
        "TransformJobStatus": job.changes["Status"],
        "FailureReason": job.changes["FailureReason"],
        "CreationTime": job.created,
        "TransformStartTime": job.changes["TransformStartTime"],
        "TransformEndTime": job.changes["TransformEndTime"],
        "TransformInput": {"CompressionType": "None", "SplitType": "None"} | request["TransformInput"],
        "TransformOutput": {"AssembleWith": "None"} | request["TransformOutput"],
        "DataProcessing": {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"}
        | (request.get("DataProcessing") or {}),
    }


def _summary(job: Resource) -> Members:
    return {
        "TransformJobName": job.name,
        "TransformJobArn": job.arn,
        "CreationTime": job.created,
        "TransformEndTime": job.changes["TransformEndTime"],
        "LastModifiedTime": job.modified,
        "TransformJobStatus": job.changes["Status"],
        "FailureReason": job.changes["FailureReason"],
    }
