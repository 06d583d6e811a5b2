"""The captures of one variant on their way to S3."""

import asyncio
import itertools
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from operator import attrgetter

from polyhost.emulator.data_capture.capture import CapturedInvocation, to_line
from polyhost.emulator.errors import StorageError
from polyhost.emulator.hosting.capture_settings import CaptureSettings
from polyhost.emulator.object_storage import ObjectStorage

MAX_WAITING_BYTES = 32 << 20
_HURRY_BYTES = 8 << 20
_CONTENT_TYPE = "application/jsonlines"


class CaptureStream:
    """Collects captures for a while, and writes them as one object for each hour.

    What cannot be written is kept and tried again; `report` gets the reason. When nothing is left to write, `on_idle`
    is called, and no more can be added.
    """

    def __init__(
        self,
        storage: ObjectStorage,
        settings: CaptureSettings,
        period_s: float,
        report: Callable[[str], None],
        on_idle: Callable[[], None],
    ) -> None:
        self._storage = storage
        self._settings = settings
        self._period_s = period_s
        self._report = report
        self._on_idle = on_idle
        self._waiting: list[CapturedInvocation] = []
        self._bytes = 0
        self._hurry = asyncio.Event()
        self._failed = self._ending = False
        self._lock = asyncio.Lock()
        self.task = asyncio.create_task(self._run())

    def add(self, capture: CapturedInvocation) -> bool:
        """Take a capture, and return whether there was room for it; there always is for the first one."""
        if self._waiting and self._bytes + capture.size > MAX_WAITING_BYTES:
            return False
        self._waiting.append(capture)
        self._bytes += capture.size
        if self._bytes >= _HURRY_BYTES and not self._failed:
            self._hurry.set()
        return True

    async def flush(self) -> None:
        """Write what is there now, if that is possible."""
        async with self._lock:
            await self._write()

    def end(self) -> None:
        """Write everything now; what cannot be written is given up."""
        self._ending = True
        self._hurry.set()

    async def _run(self) -> None:
        try:
            while True:
                await self._pause()
                await self.flush()
                if not self._waiting or (self._failed and self._ending):
                    return
        finally:
            self._on_idle()  # at once: what is added later goes to the next stream

    async def _pause(self) -> None:
        if self._ending:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._period_s):
                await self._hurry.wait()
        self._hurry.clear()

    async def _write(self) -> None:
        self._failed = False
        try:
            for hour, captures in itertools.groupby(list(self._waiting), attrgetter("hour")):
                await self._write_hour(hour, list(captures))
        except StorageError as error:
            self._failed = True
            self._report(str(error))

    async def _write_hour(self, hour: str, captures: list[CapturedInvocation]) -> None:
        content = await asyncio.to_thread(self._lines, captures)
        place, region = captures[0].place, captures[0].place.region
        folder = f"{self._settings.destination.rstrip('/')}/{place.endpoint}/{place.variant}/{hour}"
        latest = datetime.fromtimestamp(max(capture.at for capture in captures), UTC)
        name = f"{latest:%M-%S}-{latest.microsecond // 1000:03}-{uuid.uuid4()}.jsonl"
        await self._storage.upload(region, f"{folder}/{name}", content, _CONTENT_TYPE, self._settings.kms_key_id)
        del self._waiting[: len(captures)]
        self._bytes -= sum(capture.size for capture in captures)

    def _lines(self, captures: list[CapturedInvocation]) -> bytes:
        return b"".join(to_line(capture, self._settings) for capture in captures)
