"""One object on its way through the model: downloaded, split, sent, put together again, uploaded."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from polyhost.emulator.batch_transform.data_processing import DataProcessing
from polyhost.emulator.batch_transform.payloads import Payload, make_payloads
from polyhost.emulator.batch_transform.records import open_object, read_records, unpack_object
from polyhost.emulator.batch_transform.sender import Sender
from polyhost.emulator.batch_transform.spec import BatchStrategy, Parameters, SplitType, TransformSpec
from polyhost.emulator.batch_transform.uninterrupted import to_its_end


@dataclass(frozen=True)
class Transformation:
    """How every object of a job is transformed. `on_records` gets the number of records whose response is there."""

    spec: TransformSpec
    parameters: Parameters
    processing: DataProcessing | None
    on_records: Callable[[int], None]


class ObjectTransform:
    """Sends a file's records to one instance and writes the responses, in the records' order.

    `slots` limits the requests of all objects to this instance. A payload is read when a slot is free, so that no more
    payloads are in memory than are on their way, and as many responses wait for their turn.
    """

    def __init__(self, transformation: Transformation, sender: Sender, slots: asyncio.Semaphore) -> None:
        self._how = transformation
        self._sender = sender
        self._slots = slots

    async def run(self, source: Path, target: Path) -> None:
        """Write the output for a file. Raises TransformError, and OSError if the disk is full."""
        if self._sends_whole_file:
            await self._send_file(source, target)
            return
        spec, pending = self._how.spec, deque[asyncio.Task[bytes]]()
        with open_object(source, spec.input.gzip) as file, target.open("wb") as output:
            payloads = self._payloads(file)
            try:
                while (payload := await self._next(payloads)) is not None:
                    task = asyncio.create_task(self._send(payload))
                    task.add_done_callback(lambda _: self._slots.release())
                    pending.append(task)
                    if len(pending) >= self._how.parameters.concurrency:
                        await asyncio.to_thread(output.write, await pending.popleft())
                while pending:
                    await asyncio.to_thread(output.write, await pending.popleft())
            finally:
                for task in pending:
                    task.cancel()
                await asyncio.gather(*pending, return_exceptions=True)

    @property
    def _sends_whole_file(self) -> bool:
        """Whether the whole object is one request of any size, by chunked coding (botocore, MaxPayloadInMB)."""
        spec, parameters = self._how.spec, self._how.parameters
        single = parameters.strategy is BatchStrategy.SINGLE_RECORD and spec.input.split is not SplitType.NONE
        return parameters.payload_bytes is None and not single and self._how.processing is None

    async def _send_file(self, source: Path, target: Path) -> None:
        if self._how.spec.input.gzip:
            unpacked = source.with_name(f"{source.name}.unpacked")
            await asyncio.to_thread(unpack_object, source, unpacked)
            source = unpacked
        async with self._slots:
            response = await self._sender.send(b"", source)
        await asyncio.to_thread(target.write_bytes, self._assembled(response.body))
        self._how.on_records(1)

    def _payloads(self, file: IO[bytes]) -> Iterator[Payload]:
        spec, parameters, processing = self._how.spec, self._how.parameters, self._how.processing
        prepare = processing.prepare if processing is not None and processing.filters_input else None
        records = read_records(file, spec.input.split, parameters.payload_bytes)
        return make_payloads(records, spec.input.split, parameters, prepare)

    async def _next(self, payloads: Iterator[Payload]) -> Payload | None:
        """Take a slot and read the next payload; at the end, give the slot back."""
        await self._slots.acquire()
        payload: Payload | None = None
        try:
            # The thread must not read on when the file is closed.
            payload = await to_its_end(asyncio.to_thread(partial(next, payloads, None)))
        finally:
            if payload is None:
                self._slots.release()
        return payload

    async def _send(self, payload: Payload) -> bytes:
        response = await self._sender.send(payload.body)
        processing, body = self._how.processing, response.body
        if processing is not None and processing.changes_output:
            content_type = response.headers.get("content-type")
            body = await asyncio.to_thread(processing.combine, payload.originals, body, content_type)
        self._how.on_records(payload.count)
        return self._assembled(body)

    def _assembled(self, body: bytes) -> bytes:
        return body + b"\n" if self._how.spec.output.lines and not body.endswith(b"\n") else body
