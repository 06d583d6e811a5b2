"""A transform job: its lifecycle, from the list of its objects to the end of its instances."""

import asyncio
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from polyhost.emulator.batch_transform.failures import FailureKind, TransformError, reason_for_job, reason_for_objects
from polyhost.emulator.batch_transform.job_run import JobRun, Progress
from polyhost.emulator.batch_transform.spec import TransformSpec
from polyhost.emulator.hosting.change_watch import ChangeWatch
from polyhost.emulator.hosting.interfaces import Platform, VariantSpec
from polyhost.emulator.object_storage import ObjectStorage
from polyhost.emulator.telemetry.recorder import EventKind, Place, PlaceKind


class TransformJobStatus(StrEnum):
    """States of a transform job (botocore, TransformJobStatus)."""

    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPING = "Stopping"
    STOPPED = "Stopped"


_IN_PROGRESS, _STOPPING = TransformJobStatus.IN_PROGRESS, TransformJobStatus.STOPPING
_ENDS = frozenset({TransformJobStatus.COMPLETED, TransformJobStatus.FAILED, TransformJobStatus.STOPPED})
_TRANSITIONS: dict[TransformJobStatus, frozenset[TransformJobStatus]] = {
    _IN_PROGRESS: frozenset({TransformJobStatus.COMPLETED, TransformJobStatus.FAILED, _STOPPING}),
    _STOPPING: frozenset({TransformJobStatus.STOPPED}),
    **{end: frozenset() for end in _ENDS},
}


class TransformJob:
    """Runs in a task. `on_change` is called at each change of the status, and when the instances have started."""

    def __init__(
        self,
        platform: Platform,
        storage: ObjectStorage,
        region: str,
        name: str,
        spec: TransformSpec,
        hosting: VariantSpec,
        on_change: Callable[["TransformJob"], None],
    ) -> None:
        self.region = region
        self.name = name
        self.hosting = hosting
        self.status = _IN_PROGRESS
        self.failure_reason: str | None = None
        self.started: float | None = None  # seconds since 1970, as is `ended`
        self.ended: float | None = None
        self._recorder = platform.recorder
        self._place = Place(region, name, kind=PlaceKind.TRANSFORM_JOB)
        self._on_change = on_change
        self._watch = ChangeWatch()
        self._run = JobRun(platform, storage, self._place, spec, hosting, self._on_started)
        self._task: asyncio.Task[None] | None = None

    @property
    def progress(self) -> Progress:
        return self._run.progress

    def start(self, note: str = "") -> None:
        """Begin; `note` is added to the first event."""
        self._recorder.event(EventKind.TRANSFORM_JOB, self._place, f"{self.status}{note}")
        self._task = asyncio.create_task(self._execute())
        self._task.add_done_callback(self._on_done)

    def stop(self) -> None:
        """Begin to stop; the status is Stopping when this returns."""
        self._become(_STOPPING)
        assert self._task is not None
        self._task.cancel()

    async def abort(self) -> None:
        """End the instances, and leave the status as it is: the emulator ends."""
        if self._task is not None:
            if self.status is not _STOPPING:
                self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def until_changed(self, timeout_s: float, patient: bool) -> None:
        """Wait for the end of the job, before it is described; waiters of botocore are patient."""
        if self.status not in _ENDS:
            await self._watch.wait(timeout_s, patient)

    async def snapshot(self) -> list[dict[str, Any]]:
        """Describe the instances in JSON."""
        return await self._run.snapshot()

    async def _execute(self) -> None:
        try:
            failed = await self._run.execute()
        except TransformError as error:
            self._fail(reason_for_job(error))
        except Exception as error:  # of the disk, or of the emulator: a job must not stay in progress for ever
            self._fail(reason_for_job(TransformError(FailureKind.INTERNAL, f"the job broke off: {error!r}")))
        else:
            if failed:
                self._fail(reason_for_objects(failed, self.progress.objects))
            else:
                self._end(TransformJobStatus.COMPLETED)

    def _on_done(self, task: "asyncio.Task[None]") -> None:
        """Note the end of a job that was stopped, perhaps before its task began."""
        if self.status is _STOPPING:
            self._end(TransformJobStatus.STOPPED)

    def _fail(self, reason: str) -> None:
        self._end(TransformJobStatus.FAILED, reason)

    def _end(self, status: TransformJobStatus, reason: str | None = None) -> None:
        if self.status is _STOPPING:  # the job came to its end while it was being stopped
            status, reason = TransformJobStatus.STOPPED, None
        self.ended = time.time()
        self._become(status, reason)

    def _on_started(self) -> None:
        self.started = time.time()
        self._on_change(self)

    def _become(self, status: TransformJobStatus, reason: str | None = None) -> None:
        assert status in _TRANSITIONS[self.status], f"{self.name} is {self.status} and cannot become {status}"
        self.status = status
        self.failure_reason = reason
        self._on_change(self)
        if status in _ENDS:
            self._watch.announce()
        self._recorder.event(EventKind.TRANSFORM_JOB, self._place, f"{status}: {reason}" if reason else status)
