"""The transform jobs, and the record of each, from which the next emulator with the same state runs it again."""

import asyncio
import logging
import time
from functools import partial

from polyhost.emulator.api.control_plane import variant_specs
from polyhost.emulator.api.control_plane.store import Resource, ResourceKind, ResourceStore
from polyhost.emulator.api.control_plane.transform_specs import transform_spec
from polyhost.emulator.batch_transform.job import TransformJob, TransformJobStatus
from polyhost.emulator.errors import EmulatorError, StartError
from polyhost.emulator.hosting.interfaces import Platform, VariantSpec
from polyhost.emulator.object_storage import ObjectStorage

_AGAIN = ", again from its first object: the emulator ended while it was in progress"

logger = logging.getLogger(__name__)


class TransformJobRegistry:
    """Starts and stops jobs, and keeps those in progress. The records stay: SageMaker's jobs cannot be deleted."""

    def __init__(self, platform: Platform, storage: ObjectStorage, store: ResourceStore) -> None:
        self._platform = platform
        self._storage = storage
        self._store = store
        self._jobs: dict[tuple[str, str], TransformJob] = {}  # by region and name in lower case
        self._closing = False

    def all(self) -> list[TransformJob]:
        """Return the jobs since the emulator's start, the newest first."""
        return list(self._jobs.values())[::-1]

    def find(self, resource: Resource) -> TransformJob | None:
        """Return the job of a record, if it ran since the emulator's start."""
        return self._jobs.get((resource.region, resource.name.lower()))

    def create(self, resource: Resource, hosting: VariantSpec) -> None:
        """Start the job of a new record."""
        # The spec is part of the record: a job goes on if its model is deleted.
        resource.changes["Hosting"] = variant_specs.to_json(hosting)
        job = self._add(resource, hosting)
        self._on_change(resource, job)
        job.start()

    def restore(self) -> None:
        """Run the jobs again that the store has in progress. Raises StartError."""
        for resource in self._store.of_kind(ResourceKind.TRANSFORM_JOB):
            status = resource.changes.get("Status")
            if status is None:  # the emulator ended before it responded to CreateTransformJob
                self._store.remove(resource)
            elif status == TransformJobStatus.STOPPING:
                resource.changes |= {"Status": TransformJobStatus.STOPPED, "TransformEndTime": time.time()}
                self._store.save()
            elif status == TransformJobStatus.IN_PROGRESS:
                self._restore(resource)

    async def close(self) -> None:
        """End every container; the store keeps the jobs as they are."""
        self._closing = True
        await asyncio.gather(*(job.abort() for job in self._jobs.values()))

    def _restore(self, resource: Resource) -> None:
        try:
            job = self._add(resource, variant_specs.from_json(resource.changes["Hosting"]))
        except (KeyError, TypeError, AttributeError, EmulatorError) as error:
            raise StartError(
                f"cannot restore transform job {resource.name} from the saved state ({error!r}); fix the file, or"
                " choose another --state"
            ) from error
        logger.warning("transform job %s runs%s", resource.name, _AGAIN)
        job.start(_AGAIN)

    def _add(self, resource: Resource, hosting: VariantSpec) -> TransformJob:
        spec = transform_spec(resource.request)
        on_change = partial(self._on_change, resource)
        job = TransformJob(self._platform, self._storage, resource.region, resource.name, spec, hosting, on_change)
        self._jobs[resource.region, resource.name.lower()] = job
        return job

    def _on_change(self, resource: Resource, job: TransformJob) -> None:
        if self._closing:
            return
        resource.modified = time.time()
        resource.changes |= {
            "Status": job.status,
            "FailureReason": job.failure_reason,
            "TransformStartTime": job.started,
            "TransformEndTime": job.ended,
        }
        self._store.save()
