"""An execution environment: the process that runs one version of a function, one call at a time."""

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

from polyhost.emulator.functions.environment_log import EnvironmentLog
from polyhost.emulator.functions.environment_place import EnvironmentPlace
from polyhost.emulator.functions.invocation import FunctionCall, FunctionResult, failure, timestamp
from polyhost.emulator.functions.runtime import runtime_command, runtime_environ
from polyhost.emulator.functions.runtime_api import RuntimeApi
from polyhost.emulator.functions.sandbox import Sandbox, SandboxProcess
from polyhost.emulator.functions.spec import FunctionSpec


class EnvironmentStatus(StrEnum):
    NEW = "new"
    BUSY = "busy"
    IDLE = "idle"
    STOPPED = "stopped"


class Environment:
    """Started by its first call. After a time-out, or when its process has ended, it is stopped for good."""

    def __init__(self, spec: FunctionSpec, place: EnvironmentPlace, log_line: Callable[[str, str], None]) -> None:
        self.spec = spec
        self.status = EnvironmentStatus.NEW
        self.idle_since = 0.0
        day = datetime.now(UTC).strftime("%Y/%m/%d")
        self.log_stream = f"{day}/[{spec.version}]{secrets.token_hex(16)}"
        self._place = place
        self._log = EnvironmentLog(lambda text: log_line(self.log_stream, text))
        self._api: RuntimeApi | None = None
        self._process: SandboxProcess | None = None
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
            self._report(call, result, time.monotonic() - began, init_s)
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
        if self._process is None and (error := await self._init(self.spec.timeout_s)) is not None:
            result = self._timeout(call) if error.timed_out else error
            return replace(result, payload=result.payload.replace(b"REQUEST_ID", call.request_id.encode())), False
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

    def _report(self, call: FunctionCall, result: FunctionResult, elapsed_s: float, init_s: float | None) -> None:
        if self._process is not None:
            self._memory_bytes = max(self._memory_bytes, self._process.memory_bytes)
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
        if result.error_type == "Runtime.ExitError":
            self._log.line(f"RequestId: {call.request_id} Error: {_exit_reason(result)}")
            self._log.line("Runtime.ExitError")

    # The process

    async def _first_init(self) -> float | None:
        """Start the runtime ahead of the call; what fails here is tried again as a part of it."""
        began = time.monotonic()
        error = await self._init(self._place.init_s)
        elapsed_s = time.monotonic() - began
        if error is None:
            return elapsed_s
        status = "timeout" if error.timed_out else f"error\tError Type: {error.error_type}"
        self._log.line(f"INIT_REPORT Init Duration: {elapsed_s * 1000:.2f} ms\tPhase: init\tStatus: {status}")
        return None

    async def _init(self, timeout_s: float) -> FunctionResult | None:
        """Start the runtime and wait until it asks for a call; return the error after which there is no process."""
        self._api = RuntimeApi()
        await self._api.start()
        temp = self._place.folder / "tmp"
        await asyncio.to_thread(temp.mkdir, 0o1777, parents=True, exist_ok=True)
        sandbox = Sandbox(self._place.sandbox_name, self._place.code, temp, self.spec.memory_mb << 20)
        self._process = await SandboxProcess.start(
            runtime_command(self.spec),
            sandbox,
            runtime_environ(self.spec, self._place, self.log_stream, self._api.address),
            self._log.writer,
        )
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


def _exit_reason(result: FunctionResult) -> str:
    return str(json.loads(result.payload)["errorMessage"]).partition(" Error: ")[2]
