"""Which of moto's resources a request has read or written, noticed in the dictionaries that hold them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from moto.s3.utils import _VersionedKeyStore


class BucketId(NamedTuple):
    account: str
    partition: str
    name: str


class ObjectId(NamedTuple):
    """An S3 object with all its versions."""

    bucket: BucketId
    key: str


class QueueId(NamedTuple):
    account: str
    region: str
    name: str


ResourceId = BucketId | ObjectId | QueueId


@dataclass
class Accesses:
    """`read` resources may have been changed as well: moto changes them in place."""

    read: set[ResourceId] = field(default_factory=set)
    written: set[ResourceId] = field(default_factory=set)

    @property
    def all(self) -> set[ResourceId]:
        return self.read | self.written


# What moto's own threads touch, outside of any request, is saved with the next request.
outside_requests = Accesses()
_current: ContextVar[Accesses] = ContextVar("accesses", default=outside_requests)


@contextmanager
def recorded_accesses() -> Iterator[Accesses]:
    """Record what this thread accesses while the block runs."""
    accesses = Accesses()
    token = _current.set(accesses)
    try:
        yield accesses
    finally:
        _current.reset(token)


class WatchedDict(dict[str, Any]):
    """A dictionary of resources by name that records which are accessed."""

    def __init__(self, identify: Callable[[str], ResourceId]) -> None:
        super().__init__()
        self._identify = identify

    def __getitem__(self, name: str) -> Any:
        _current.get().read.add(self._identify(name))
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the resource of this name, or the default."""
        _current.get().read.add(self._identify(name))
        return super().get(name, default)

    def __setitem__(self, name: str, resource: Any) -> None:
        _current.get().written.add(self._identify(name))
        super().__setitem__(name, resource)

    def __delitem__(self, name: str) -> None:
        _current.get().written.add(self._identify(name))
        super().__delitem__(name)

    def pop(self, name: str, *default: Any) -> Any:
        """Remove the resource of this name and return it."""
        _current.get().written.add(self._identify(name))
        return super().pop(name, *default)


class WatchedObjects(_VersionedKeyStore):
    """A bucket's objects by key, each a list of versions. moto reads all of them through `__sgetitem__`."""

    def __init__(self, bucket: BucketId) -> None:
        super().__init__()
        self._bucket = bucket

    def __sgetitem__(self, key: str) -> list[Any]:
        _current.get().read.add(ObjectId(self._bucket, key))
        return super().__sgetitem__(key)

    def __setitem__(self, key: str, version: Any) -> None:
        _current.get().written.add(ObjectId(self._bucket, key))
        super().__setitem__(key, version)

    def setlist(self, key: str, versions: Any) -> None:
        """Replace all versions of an object."""
        _current.get().written.add(ObjectId(self._bucket, key))
        super().setlist(key, versions)

    def pop(self, key: str) -> None:  # type: ignore[override]  # as moto's does
        """Remove an object with all its versions."""
        _current.get().written.add(ObjectId(self._bucket, key))
        super().pop(key)
