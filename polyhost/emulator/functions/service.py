"""All functions of an emulator: their environments, their limits, and the end of both."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from polyhost.archives import InvalidArchiveError
from polyhost.emulator.errors import ServiceUnavailable
from polyhost.emulator.functions.code_folders import CodeFolders
from polyhost.emulator.functions.environment import Environment
from polyhost.emulator.functions.environment_place import EnvironmentPlace
from polyhost.emulator.functions.errors import InvalidZipFile, TooManyRequests
from polyhost.emulator.functions.images import FunctionImages
from polyhost.emulator.functions.invocation import FunctionCall, FunctionResult
from polyhost.emulator.functions.pool import EnvironmentPool
from polyhost.emulator.functions.runtime import ZipStarter, check_runtime
from polyhost.emulator.functions.runtime_process import RuntimeStarter
from polyhost.emulator.functions.spec import (
    CodePart,
    FunctionReference,
    FunctionSpec,
    all_specs,
    require_spec,
    reserved_concurrency,
)

# Of an account in a region. AWS begins with 1,000, or less for new accounts; each takes processes of this machine.
MAX_CONCURRENCY = 100

# How many functions' last calls are kept for the page.
_MOST_LAST_CALLS = 1000

LogLine = Callable[[FunctionSpec, str, str], None]  # with the log stream and the line


class Functions:
    """Runs calls. `folder` is the emulator's run directory, `url` its own address, `most` run at once in a region.

    Without `images` no functions of images can be called.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        idle_s: float,
        log_line: LogLine,
        images: FunctionImages | None = None,
        most: int = MAX_CONCURRENCY,
    ) -> None:
        self._folder = folder / "functions"
        self._name = folder.name
        self._url = url
        self._idle_s = idle_s
        self._log_line = log_line
        self._images = images
        self._most = most
        self._code = CodeFolders(self._folder / "code")
        self._pools: dict[FunctionSpec, EnvironmentPool] = {}
        self._retired: set[EnvironmentPool] = set()  # whose last calls go on
        self._running: Counter[tuple[str, str]] = Counter()  # by region and function
        self._last_calls: dict[tuple[str, str], dict[str, Any]] = {}
        self._calls: set[asyncio.Task[FunctionResult]] = set()
        self._closed = False

    async def invoke(self, reference: FunctionReference, call: FunctionCall) -> tuple[FunctionSpec, FunctionResult]:
        """Run a call to its end, also if the caller does not wait for it. Raises AwsError."""
        if self._closed:
            raise ServiceUnavailable("The emulator is shutting down.")
        spec = self.require(reference)
        self._admit(reference)
        task = asyncio.create_task(self._run(spec, call))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return spec, await asyncio.shield(task)

    def require(self, reference: FunctionReference) -> FunctionSpec:
        """Return the version that a call would run. Raises AwsError."""
        spec = require_spec(reference)
        check_runtime(spec, runs_images=self._images is not None)
        return spec

    def last_call(self, region: str, name: str) -> dict[str, Any] | None:
        """Return how a function's latest call has ended, if it was called since the emulator's start."""
        return self._last_calls.get((region, name))

    async def follow_changes(self) -> None:
        """End the environments and remove the code of versions that there are no longer."""
        specs = set(await asyncio.to_thread(lambda: set(all_specs())))
        gone = [self._pools.pop(spec) for spec in self._pools.keys() - specs]
        self._retired.update(gone)
        await asyncio.gather(*(pool.retire() for pool in gone))
        await self._remove_unused_code()

    async def close(self) -> None:
        """End all calls and environments."""
        self._closed = True
        for task in self._calls:
            task.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        await asyncio.gather(*(pool.close() for pool in (*self._pools.values(), *self._retired)))

    def _admit(self, reference: FunctionReference) -> None:
        reserved = reserved_concurrency(reference)
        limit = self._most if reserved is None else reserved
        in_region = sum(count for (region, _), count in self._running.items() if region == reference.region)
        if self._running[reference.region, reference.name] >= limit or in_region >= self._most:
            scope = "ReservedFunction" if reserved is not None else ""
            raise TooManyRequests(
                "Rate Exceeded.", Reason=f"{scope}ConcurrentInvocationLimitExceeded", Type="User", retryAfterSeconds="1"
            )
        self._running[reference.region, reference.name] += 1

    async def _run(self, spec: FunctionSpec, call: FunctionCall) -> FunctionResult:
        try:
            if (pool := self._pools.get(spec)) is None:
                pool = self._pools.setdefault(spec, self._new_pool(spec, await self._starter_of(spec)))
            began = time.time()
            try:
                result = await pool.run(call)
                self._note(spec, began, result)
                return result
            finally:
                if pool in self._retired:
                    await self._remove_unused_code()
        finally:
            self._running[spec.region, spec.name] -= 1

    def _note(self, spec: FunctionSpec, began: float, result: FunctionResult) -> None:
        key = (spec.region, spec.name)
        self._last_calls.pop(key, None)
        while len(self._last_calls) >= _MOST_LAST_CALLS:
            del self._last_calls[next(iter(self._last_calls))]
        self._last_calls[key] = {
            "status": "Failed" if result.failed else "Succeeded",
            "error": result.error_type or None,
            "at": began,
            "duration_ms": (time.time() - began) * 1000,
        }

    async def _remove_unused_code(self) -> None:
        self._retired = {pool for pool in self._retired if pool.in_use}
        specs = {*self._pools, *(pool.spec for pool in self._retired)}
        used = {part.digest for spec in specs for part in (spec.code, *spec.layers)}
        await asyncio.to_thread(self._code.keep, used)

    async def _starter_of(self, spec: FunctionSpec) -> RuntimeStarter:
        if spec.image is not None:
            assert self._images is not None  # as `require` has checked
            return await asyncio.to_thread(self._images.starter, spec.name, spec.image)
        code, *layers = [await self._folder_of(part) for part in (spec.code, *spec.layers)]
        return ZipStarter(code, tuple(layers))

    async def _folder_of(self, part: CodePart) -> Path:
        try:
            return await asyncio.to_thread(self._code.folder_of, part)
        except InvalidArchiveError as error:
            raise InvalidZipFile(f"Lambda could not unzip the deployment package: {error}") from error

    def _new_pool(self, spec: FunctionSpec, starter: RuntimeStarter) -> EnvironmentPool:
        def make() -> Environment:
            name = secrets.token_hex(4)
            place = EnvironmentPlace(
                folder=self._folder / name,
                name=f"{self._name}-fn-{name}",
                owner=self._name,
                aws_url=self._url,
            )
            return Environment(spec, place, starter, lambda stream, text: self._log_line(spec, stream, text))

        return EnvironmentPool(spec, make, self._idle_s)
