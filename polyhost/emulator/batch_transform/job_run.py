"""The work of a transform job: instances for as long as it takes, objects spread over them, outputs in S3."""

import asyncio
import shutil
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from polyhost.emulator.batch_transform.data_processing import DataProcessing
from polyhost.emulator.batch_transform.failures import ContainersLostError, FailureKind, TransformError, start_failure
from polyhost.emulator.batch_transform.inputs import InputObject, list_inputs
from polyhost.emulator.batch_transform.object_transform import ObjectTransform, Transformation
from polyhost.emulator.batch_transform.parameters import parameters_for
from polyhost.emulator.batch_transform.sender import Sender
from polyhost.emulator.batch_transform.spec import Format, SplitType, TransformSpec
from polyhost.emulator.batch_transform.uninterrupted import to_its_end
from polyhost.emulator.errors import ObjectMissingError, StorageError
from polyhost.emulator.hosting.fleet import Fleet
from polyhost.emulator.hosting.instance import Instance
from polyhost.emulator.hosting.interfaces import Platform, VariantSpec
from polyhost.emulator.object_storage import ObjectStorage
from polyhost.emulator.telemetry.container_logs import DATA_LOG
from polyhost.emulator.telemetry.recorder import Place

_PARALLEL_OBJECTS = 16  # of one instance, as far as MaxConcurrentTransforms allows


@dataclass
class Progress:
    """What has been done so far: objects in the input, those whose output is there, those that failed, and records."""

    objects: int = 0
    completed: int = 0
    failed: int = 0
    records: int = 0


class JobRun:
    """Runs once. `on_started` is called when the instances are in service."""

    def __init__(
        self,
        platform: Platform,
        storage: ObjectStorage,
        place: Place,
        spec: TransformSpec,
        hosting: VariantSpec,
        on_started: Callable[[], None],
    ) -> None:
        self.progress = Progress()
        self._platform = platform
        self._storage = storage
        self._place = place
        self._spec = spec
        self._hosting = hosting
        self._on_started = on_started
        self._fleet = Fleet(platform, place.region, place.endpoint, hosting, place.kind)
        self._failed: dict[str, TransformError] = {}

    async def snapshot(self) -> list[dict[str, Any]]:
        return await self._fleet.snapshot()

    async def execute(self) -> dict[str, TransformError]:
        """Transform all objects, and return the errors of those that failed, by address.

        Raises TransformError if the job as a whole cannot be done. No container and no file is left in any case.
        """
        folder = Path(tempfile.mkdtemp(prefix="transform-", dir=self._platform.folder))
        try:
            processing = _data_processing(self._spec)
            objects = await list_inputs(self._storage, self._place.region, self._spec.input, folder)
            self.progress.objects = len(objects)
            await self._check_output()
            await self._start()
            await self._transform(objects, processing, folder)
        finally:
            await to_its_end(self._clean_up(folder))
        return self._failed

    async def _clean_up(self, folder: Path) -> None:
        await self._fleet.stop(drain_s=0)
        await asyncio.to_thread(shutil.rmtree, folder, True)

    async def _check_output(self) -> None:
        try:
            await self._storage.check_bucket(self._place.region, self._spec.output.path)
        except StorageError as error:
            raise TransformError(FailureKind.CLIENT, str(error)) from error

    async def _start(self) -> None:
        containers = self._hosting.containers
        try:
            for container in containers:
                await self._platform.driver.check(container.image, container.multi_model, len(containers) > 1)
            await self._fleet.start()
        except Exception as error:
            raise start_failure(error, self._hosting) from error
        self._on_started()

    async def _transform(self, objects: list[InputObject], processing: DataProcessing | None, folder: Path) -> None:
        instances = self._fleet.instances
        parameters = await parameters_for(self._spec.requested, instances[0])
        how = Transformation(self._spec, parameters, processing, self._on_records)
        try:
            async with asyncio.TaskGroup() as group:
                for number, instance in enumerate(instances):
                    self._log(instance, str(parameters))
                    sender = self._sender(instance)
                    slots = asyncio.Semaphore(parameters.concurrency)
                    share = deque(objects[number :: len(instances)])
                    for _ in range(min(parameters.concurrency, _PARALLEL_OBJECTS, len(share))):
                        transform = ObjectTransform(how, sender, slots)
                        group.create_task(self._work(share, transform, instance, folder))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors  # the first one has ended the others' work

    def _sender(self, instance: Instance) -> Sender:
        spec = self._spec
        given = {"Content-Type": spec.input.content_type, "Accept": spec.output.accept}
        headers = {name: value for name, value in given.items() if value}
        restart_s, faults = self._hosting.startup_timeout_s, self._platform.faults
        return Sender(instance, headers, spec.client, restart_s, faults, self._place.endpoint)

    async def _work(
        self, share: deque[InputObject], transform: ObjectTransform, instance: Instance, folder: Path
    ) -> None:
        """Transform one object after the other; one that fails does not keep the others from it."""
        while share:
            item = share.popleft()
            try:
                await self._transform_one(item, transform, folder)
            except ContainersLostError:
                raise
            except TransformError as error:
                self._on_failed(item, error, instance)
            except StorageError as error:
                missing = isinstance(error, ObjectMissingError)
                kind = FailureKind.CLIENT if missing else FailureKind.INTERNAL
                self._on_failed(item, TransformError(kind, str(error)), instance)
            except OSError as error:
                text = f"no room for the object or its output: {error}; free some disk"
                self._on_failed(item, TransformError(FailureKind.INTERNAL, text), instance)
            else:
                self.progress.completed += 1

    async def _transform_one(self, item: InputObject, transform: ObjectTransform, folder: Path) -> None:
        region, output = self._place.region, self._spec.output
        work = Path(tempfile.mkdtemp(dir=folder))
        try:
            await self._storage.download(region, item.uri, work / "input")
            await transform.run(work / "input", work / "output")
            await self._storage.upload(
                region, item.output_uri(output.path), work / "output", output.accept, output.kms_key_id
            )
        finally:
            await asyncio.to_thread(shutil.rmtree, work, True)

    def _on_records(self, count: int) -> None:
        self.progress.records += count

    def _on_failed(self, item: InputObject, error: TransformError, instance: Instance) -> None:
        self.progress.failed += 1
        self._failed[item.uri] = error
        self._log(instance, f"{item.label}: {error}")
        if error.detail:
            for line in ("", "Message:", *error.detail.splitlines()):
                self._log(instance, f"{item.label}: {line}")

    def _log(self, instance: Instance, text: str) -> None:
        """Write a line as SageMaker does to the data log (aws/amazon-sagemaker-examples, issue 1620)."""
        place = replace(self._place, instance=instance.id, container=DATA_LOG)
        now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        self._platform.recorder.log_line(place, f"{now}:[sagemaker logs]: {text}")


def _data_processing(spec: TransformSpec) -> DataProcessing | None:
    """Return the filters and the join, if there are any. Raises TransformError for a path that is not supported."""
    if not spec.processing.needed:
        return None
    media_type = (spec.input.content_type or "").partition(";")[0].strip().lower()
    return DataProcessing(spec.processing, Format(media_type), spec.input.split is SplitType.LINE)
