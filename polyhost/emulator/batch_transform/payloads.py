"""Requests' bodies, made of as many records as the strategy and the limit allow."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from polyhost.emulator.batch_transform.failures import FailureKind, TransformError
from polyhost.emulator.batch_transform.records import Record
from polyhost.emulator.batch_transform.spec import BatchStrategy, Parameters, SplitType


@dataclass(frozen=True)
class Payload:
    """A request's body; `originals` are its records as they were before the filter."""

    body: bytes
    originals: list[bytes] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.originals)


def make_payloads(
    records: Iterator[Record], split: SplitType, parameters: Parameters, prepare: Callable[[bytes], bytes] | None
) -> Iterator[Payload]:
    """Yield the bodies in the records' order; `prepare` filters a record. Raises TransformError."""
    separator = b"\n" if split is SplitType.LINE else b""
    single = split is SplitType.NONE or parameters.strategy is BatchStrategy.SINGLE_RECORD
    limit = parameters.payload_bytes
    bodies: list[bytes] = []
    originals: list[bytes] = []
    size = 0
    for record in records:
        body = record.data if single else record.framed
        if prepare is not None:
            body = prepare(record.data)
            if limit is not None and len(body) > limit:
                raise TransformError(
                    FailureKind.CLIENT,
                    f"Too much data for max payload size: a filtered record has {len(body)} bytes, MaxPayloadInMB"
                    f" allows {limit}; raise it",
                )
        if bodies and (single or (limit is not None and size + len(separator) + len(body) > limit)):
            yield Payload(separator.join(bodies), originals)
            bodies, originals, size = [], [], 0
        size += len(body) + (len(separator) if bodies else 0)
        bodies.append(body)
        originals.append(record.data)
    if bodies:
        yield Payload(separator.join(bodies), originals)
