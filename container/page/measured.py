"""Latencies and errors of invocations, for the page: without it, nothing is measured."""

import time

from polyhost.container.native.decoder import Chunk, WorkerResponse
from polyhost.container.native.errors import Rejection
from polyhost.container.native.invocation import Caller, Invocation
from polyhost.model_cache.model_copy import ModelUsage

_ERROR = 400


class MeasuredCaller:
    """Passes everything on to the caller. A streamed response's time is that of its beginning."""

    def __init__(self, caller: Caller, usage: ModelUsage) -> None:
        self._caller = caller
        self._usage = usage
        self._start = time.perf_counter()

    def on_response(self, invocation: Invocation, response: WorkerResponse) -> None:
        self._usage.latencies_ms.append((time.perf_counter() - self._start) * 1e3)
        self._usage.errors += response.status >= _ERROR
        self._caller.on_response(invocation, response)

    def on_chunk(self, invocation: Invocation, chunk: Chunk) -> None:
        self._usage.errors += chunk.failure is not None
        self._caller.on_chunk(invocation, chunk)

    def on_rejected(self, invocation: Invocation, rejection: Rejection) -> None:
        self._usage.errors += 1
        self._caller.on_rejected(invocation, rejection)
