"""What happens to an asynchronous invocation once it has an instance: download, container, upload, notification."""

import asyncio
import tempfile
from pathlib import Path
from typing import NamedTuple

from polyhost.emulator.async_inference.failures import (
    AsyncFailureError,
    InstanceGoneError,
    failure_for_error,
    failure_for_response,
)
from polyhost.emulator.async_inference.invocation import AsyncInvocation
from polyhost.emulator.async_inference.notifications import (
    MAX_INCLUDED_BYTES,
    NotificationError,
    Notifier,
    Outcome,
    result_message,
)
from polyhost.emulator.async_inference.report import InvocationReport
from polyhost.emulator.async_inference.response_file import ResponseFile
from polyhost.emulator.errors import StorageError
from polyhost.emulator.hosting.async_settings import ResponseTopic
from polyhost.emulator.hosting.endpoint import Endpoint
from polyhost.emulator.hosting.instance import Instance, InstanceStatus
from polyhost.emulator.hosting.interfaces import InvocationRequest
from polyhost.emulator.object_storage import ObjectStorage
from polyhost.emulator.telemetry.recorder import Recorder
from polyhost.model_cache.errors import ContainerGoneError, ContainerTimeoutError, ModelServingError

MAX_INPUT_BYTES = 1 << 30  # developer guide, async-inference: "payload sizes (up to 1GB)"
_TEXT = "text/plain; charset=utf-8"


class Slot(NamedTuple):
    """One of the invocations that an instance of a variant may have at a time."""

    variant: str
    instance: Instance


class InvocationProcessor:
    """Answers invocations, one way or the other. Input and output are files below `folder` meanwhile."""

    def __init__(self, storage: ObjectStorage, notifier: Notifier, recorder: Recorder, folder: Path) -> None:
        self._storage = storage
        self._notifier = notifier
        self._recorder = recorder
        self._folder = folder

    async def process(self, invocation: AsyncInvocation, body: bytes | None, endpoint: Endpoint, slot: Slot) -> None:
        """Run an invocation on an instance; `body` came with the request, if it did.

        Failures are answers too. Raises InstanceGoneError if there is no answer because the instance went away.
        """
        report = InvocationReport(self._recorder, invocation, slot.variant, slot.instance.id)
        try:
            with tempfile.TemporaryDirectory(prefix="async-", dir=self._folder) as folder:
                await self._answer(invocation, body, endpoint, slot.instance, Path(folder), report)
        except AsyncFailureError as failure:
            await self.fail(invocation, failure, report)
        except OSError as error:  # of the files, such as a full disk
            await self.fail(invocation, AsyncFailureError(f"The payload cannot be kept on disk: {error}"), report)
        else:
            report.finish()
            report.log_success()

    async def fail(self, invocation: AsyncInvocation, failure: AsyncFailureError, report: InvocationReport) -> None:
        """Write a failure to S3, if there is a path for it, and notify the error topic."""
        report.count("InvocationFailures")
        if failure.metric:
            report.count(failure.metric)
        report.log_failure(failure.detail)
        response = failure.response
        content = response.body if response is not None else failure.reason.encode()
        content_type = response.headers.get("content-type") if response is not None else _TEXT
        settings, location = invocation.settings, invocation.failure_location
        if location is not None:
            try:
                await self._upload(invocation, location, content, content_type)
            except StorageError as error:
                location = None
                report.log_failure(f"The failure could not be written to S3: {error}")
        if settings.error_topic is not None:
            included = _included(invocation, ResponseTopic.ERROR, content)
            outcome = Outcome(failure.reason, content_type if location else None, location, included)
            await self._notify(invocation, settings.error_topic, outcome, report)
        report.finish()

    async def _answer(
        self,
        invocation: AsyncInvocation,
        body: bytes | None,
        endpoint: Endpoint,
        instance: Instance,
        folder: Path,
        report: InvocationReport,
    ) -> None:
        request_file = folder / "request"
        if body is None:
            await self._download(invocation, request_file, report)
        with ResponseFile(folder / "response") as output:
            request = InvocationRequest(
                body or b"",
                invocation.headers,
                timeout_s=invocation.timeout_s,
                relay=output,
                body_file=request_file if body is None else None,
            )
            await _invoke(instance, request, endpoint, report)
            output.finish()
        await self._deliver(invocation, output, report)

    async def _download(self, invocation: AsyncInvocation, path: Path, report: InvocationReport) -> None:
        location = invocation.input_location
        assert location is not None
        try:
            async with report.timed("RequestDownloadLatency"):
                await self._storage.download(invocation.region, location, path, MAX_INPUT_BYTES)
        except StorageError as error:
            raise AsyncFailureError(
                f"Failed to download the request payload: {error}", metric="RequestDownloadFailures"
            ) from error

    async def _deliver(self, invocation: AsyncInvocation, output: ResponseFile, report: InvocationReport) -> None:
        """Write the response to S3, and notify the success topic of it."""
        settings, location = invocation.settings, invocation.output_location
        small = output.path.stat().st_size <= MAX_INCLUDED_BYTES
        content = output.path.read_bytes() if small else None
        included = _included(invocation, ResponseTopic.SUCCESS, content)
        if location is not None:
            try:
                async with report.timed("ResponseUploadLatency"):
                    await self._upload(
                        invocation, location, output.path if content is None else content, output.content_type
                    )
            except StorageError as error:
                raise AsyncFailureError(
                    f"Failed to upload the response: {error}", metric="ResponseUploadFailures"
                ) from error
        elif included is None or settings.success_topic is None:
            raise AsyncFailureError(
                f"The response is larger than the {MAX_INCLUDED_BYTES} bytes that a notification may include, and the"
                " endpoint configuration has no S3OutputPath.",
                metric="ResponseUploadFailures",
            )
        if settings.success_topic is not None:
            outcome = Outcome(None, output.content_type, location, included)
            await self._notify(invocation, settings.success_topic, outcome, report)

    async def _upload(
        self, invocation: AsyncInvocation, location: str, content: bytes | Path, content_type: str | None
    ) -> None:
        key = invocation.settings.kms_key_id
        await self._storage.upload(invocation.region, location, content, content_type, key)

    async def _notify(
        self, invocation: AsyncInvocation, topic: str, outcome: Outcome, report: InvocationReport
    ) -> None:
        try:
            await self._notifier.publish(topic, result_message(invocation, outcome))
        except NotificationError as error:
            report.count("NotificationFailures")
            report.log_failure(f"The notification failed: {error}")


async def _invoke(instance: Instance, request: InvocationRequest, endpoint: Endpoint, report: InvocationReport) -> None:
    """Have a container answer successfully. Raises AsyncFailureError and InstanceGoneError."""
    try:
        async with asyncio.timeout(request.timeout_s):
            response = await instance.invoke(request)
    except TimeoutError:
        late = ContainerTimeoutError(f"no response within InvocationTimeoutSeconds, {request.timeout_s:.0f}")
        raise failure_for_error(late, endpoint) from None
    except ModelServingError as error:
        if isinstance(error, ContainerGoneError) and error.may_retry:
            raise InstanceGoneError(f"instance {instance.id} is not in service", begun=False) from error
        _check_stopped(instance)
        raise failure_for_error(error, endpoint) from error
    if not 200 <= response.status < 300:
        _check_stopped(instance)  # what a container says while it is stopped is no answer
        report.note_response(response)
        raise failure_for_response(response, endpoint)
    report.note_response(response)


def _check_stopped(instance: Instance) -> None:
    if instance.status is InstanceStatus.STOPPED:
        raise InstanceGoneError(f"instance {instance.id} was stopped while it had the request", begun=True)


def _included(invocation: AsyncInvocation, topic: ResponseTopic, content: bytes | None) -> bytes | None:
    """Return the content if the topic's notifications include it, and it is not too large for that."""
    if content is None or len(content) > MAX_INCLUDED_BYTES:
        return None
    return content if topic in invocation.settings.include_response_in else None
