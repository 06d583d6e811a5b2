"""An execution environment: the process or container that runs one version of a function, one call at a time."""

import asyncio
import json
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from math import ceil
from typing import Any

from polyhost.emulator.errors import ContainerError
from polyhost.emulator.functions.environment_log import EnvironmentLog
from polyhost.emulator.functions.environment_place import EnvironmentPlace
from polyhost.emulator.functions.invocation import FunctionCall, FunctionResult, failure, timestamp
from polyhost.emulator.functions.runtime_api import RuntimeApi
from polyhost.emulator.functions.runtime_process import RuntimeLinks, RuntimeProcess, RuntimeStarter
from polyhost.emulator.functions.spec import FunctionSpec

_RUNTIME_ERRORS = ("Runtime.ExitError", "Runtime.InvalidEntrypoint")


class EnvironmentStatus(StrEnum):
    NEW = "new"
    BUSY = "busy"
    IDLE = "idle"
    STOPPED = "stopped"


class Environment:
    """Started by its first call. After a time-out, or when its process has ended, it is stopped for good."""

    def __init__(
        self,
        spec: FunctionSpec,
        place: EnvironmentPlace,
        starter: RuntimeStarter,
        log_line: Callable[[str, str], None],
    ) -> None:
        self.spec = spec
        self.status = EnvironmentStatus.NEW
        self.idle_since = 0.0
        day = datetime.now(UTC).strftime("%Y/%m/%d")
        self.log_stream = f"{day}/[{spec.version}]{secrets.token_hex(16)}"
        self._place = place
        self._starter = starter
        self._log = EnvironmentLog(lambda text: log_line(self.log_stream, text))
        self._api: RuntimeApi | None = None
        self._process: RuntimeProcess | None = None
        self._started_at = 0.0
        self._memory_bytes = 0

    async def run(self, call: FunctionCall) -> FunctionResult:
        """Run a call, and log it. Raises OSError if no process can be started."""
        assert self.status in (EnvironmentStatus.NEW, EnvironmentStatus.IDLE), self.status
        cold, self.status = self.status is EnvironmentStatus.NEW, EnvironmentStatus.BUSY
        self._log.begin()
        try:
            init_s = await self._first_init() if cold else None
            self._log.line(f"START RequestId: {call.request_id} Version: {self.spec.version}")
            began = time.monotonic()
            result, alive = await self._run(call)
            elapsed_s = time.monotonic() - began
            await self._measure()
            self._report(call, result, elapsed_s, init_s)
        except BaseException:
            await self.stop()
            raise
        if alive:
            self.status, self.idle_since = EnvironmentStatus.IDLE, time.monotonic()
        else:
            await self.stop()
        return replace(result, log=self._log.tail().decode(errors="replace"))

    async def until_ended(self) -> None:
        """Return when its process has ended by itself."""
        assert self._process is not None
        await self._process.wait()

    async def stop(self) -> None:
        """End its processes and remove its folder; can be called again."""
        if self.status is not EnvironmentStatus.STOPPED:
            self.status = EnvironmentStatus.STOPPED
            await self._end_process()
            self._log.close()
            await asyncio.to_thread(shutil.rmtree, self._place.folder, ignore_errors=True)

    # A call

    async def _run(self, call: FunctionCall) -> tuple[FunctionResult, bool]:
        """Return the result, and whether the environment can take another call."""
        deadline = time.monotonic() + self.spec.timeout_s
        if self._process is None:
            if (error := await self._init(self.spec.timeout_s)) is not None:
                result = self._timeout(call) if error.timed_out else error
                return replace(result, payload=result.payload.replace(b"REQUEST_ID", call.request_id.encode())), False
            deadline = self._started_at + self.spec.timeout_s
        assert self._api is not None and self._process is not None
        left_s = max(0.0, deadline - time.monotonic())
        answer = asyncio.create_task(self._api.call(call, left_s))
        end = asyncio.create_task(self._process.wait())
        try:
            await asyncio.wait({answer, end}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result(), True
            if end.done():
                return failure("Runtime.ExitError", f"RequestId: {call.request_id} Error: {end.result()}"), False
            return self._timeout(call), False
        finally:
            answer.cancel()
            end.cancel()

    def _timeout(self, call: FunctionCall) -> FunctionResult:
        message = f"RequestId: {call.request_id} Error: Task timed out after {self.spec.timeout_s:.2f} seconds"
        return failure("Sandbox.Timedout", message, timed_out=True)

    async def _measure(self) -> None:
        """Note the memory, and let what the call has printed come before the lines of its end."""
        if self._process is not None:
            await self._process.flush()
            self._memory_bytes = max(self._memory_bytes, await self._process.memory_bytes())

    def _report(self, call: FunctionCall, result: FunctionResult, elapsed_s: float, init_s: float | None) -> None:
        limit_mb = self.spec.memory_mb
        used_mb = min(limit_mb, ceil(self._memory_bytes / (1 << 20)))
        elapsed_ms, init_ms = elapsed_s * 1000, (init_s or 0.0) * 1000
        fields = [
            f"REPORT RequestId: {call.request_id}",
            f"Duration: {elapsed_ms:.2f} ms",
            f"Billed Duration: {ceil(elapsed_ms + init_ms)} ms",
            f"Memory Size: {limit_mb} MB",
            f"Max Memory Used: {used_mb} MB",
        ]
        if init_s is not None:
            fields.append(f"Init Duration: {init_ms:.2f} ms")
        if result.timed_out:
            fields.append("Status: timeout")
        elif result.error_type.startswith("Runtime."):
            fields += ["Status: error", f"Error Type: {result.error_type}"]
        if result.timed_out:
            seconds = f"{self.spec.timeout_s:.2f}"
            self._log.line(f"{timestamp()} {call.request_id} Task timed out after {seconds} seconds")
        self._log.line(f"END RequestId: {call.request_id}")
        self._log.line("\t".join(fields) + "\t")
        if result.error_type in _RUNTIME_ERRORS:
            self._log.line(f"RequestId: {call.request_id} Error: {_reason(result)}")
            self._log.line(result.error_type)

    # The process

    async def _first_init(self) -> float | None:
        """Start the runtime ahead of the call; what fails here is tried again as a part of it."""
        error = await self._init(self._place.init_s)
        elapsed_s = time.monotonic() - self._started_at
        if error is None:
            return elapsed_s
        status = "timeout" if error.timed_out else f"error\tError Type: {error.error_type}"
        self._log.line(f"INIT_REPORT Init Duration: {elapsed_s * 1000:.2f} ms\tPhase: init\tStatus: {status}")
        return None

    async def _init(self, timeout_s: float) -> FunctionResult | None:
        """Start the runtime and wait until it asks for a call; return the error after which there is no process."""
        self._api = RuntimeApi()
        await self._api.start()
        self._started_at = time.monotonic()
        links = RuntimeLinks(self._api.address, self.log_stream, self._log.writer)
        try:
            self._process = await self._starter.start(self.spec, self._place, links)
        except ContainerError as problem:
            await self._end_process()
            return failure("Runtime.InvalidEntrypoint", f"RequestId: REQUEST_ID Error: {problem}")
        self._started_at = time.monotonic()  # what an engine takes for a container is not the function's time
        ready = asyncio.create_task(self._api.ready.wait())
        end = asyncio.create_task(self._process.wait())
        try:
            waiting: set[asyncio.Future[Any]] = {ready, end, self._api.init_error}
            await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                return None
            if self._api.init_error.done():
                error = self._api.init_error.result()
            elif end.done():
                error = failure("Runtime.ExitError", f"RequestId: REQUEST_ID Error: {end.result()}")
            else:
                error = failure("Sandbox.Timedout", "", timed_out=True)
            await self._end_process()
            return error
        finally:
            ready.cancel()
            end.cancel()

    async def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await process.stop()
        if self._api is not None:
            await self._api.close()
        self._log.drain()


def _reason(result: FunctionResult) -> str:
    return str(json.loads(result.payload)["errorMessage"]).partition(" Error: ")[2]
