"""S3's buckets and objects."""

import logging
from collections.abc import Iterable
from functools import partial
from typing import Any

from moto.s3.models import FakeBucket, FakeDeleteMarker, FakeKey, FakeMultipart, S3Backend, s3_backends

from polyhost.emulator.moto_services.state import pickles
from polyhost.emulator.moto_services.state.accesses import BucketId, ObjectId, ResourceId, WatchedDict, WatchedObjects
from polyhost.emulator.moto_services.state.object_files import ObjectFile, ObjectFiles
from polyhost.emulator.moto_services.state.records import Change, Records, Update

_BUCKET, _OBJECT = "s3-bucket", "s3-object"  # kinds of records
# Attributes that are saved in another way, or not: unfinished uploads end with the emulator.
_NOT_OF_BUCKETS = frozenset(("keys", "multiparts"))
_NOT_OF_OBJECTS = frozenset(("_value_buffer", "lock", "multipart"))

logger = logging.getLogger(__name__)


class WatchedBuckets(WatchedDict):
    """A backend's buckets. Those that are added get a dictionary of objects that is watched too."""

    def __init__(self, account: str, partition: str) -> None:
        super().__init__(partial(BucketId, account, partition))

    def __setitem__(self, name: str, bucket: Any) -> None:
        if not isinstance(bucket.keys, WatchedObjects):
            objects = WatchedObjects(BucketId(bucket.account_id, bucket.partition, name))
            for key, versions in dict(bucket.keys).items():
                objects.setlist(key, versions)
            bucket.keys = objects
        super().__setitem__(name, bucket)


class WatchedS3Backend(S3Backend):
    """moto's S3, with buckets that are watched."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.buckets = WatchedBuckets(account_id, region_name)


class S3State:
    """Saves and restores buckets and objects. A record is a bucket's configuration, or a version of an object."""

    def __init__(self, records: Records, files: ObjectFiles) -> None:
        self._records = records
        self._files = files
        self._saved: dict[ObjectId, dict[str, str]] = {}  # the file by version, empty for a delete marker

    def watch(self) -> None:
        """Have moto use backends that are watched, from now on and for what it holds already."""
        s3_backends.backend = WatchedS3Backend
        for account, backends in s3_backends.items():
            backends.backend = WatchedS3Backend
            for partition, backend in backends.items():
                buckets = WatchedBuckets(account, partition)
                for name, bucket in dict(backend.buckets).items():
                    buckets[name] = bucket
                backend.buckets = buckets

    def restore(self) -> None:
        """Give moto what was saved."""
        for (account, partition, name), content in self._records.load(_BUCKET):
            backend = s3_backends[account][partition]
            attributes, tags = pickles.load(content, backend)
            bucket = FakeBucket(name, account, attributes["region_name"])  # type: ignore[abstract]  # as moto does
            vars(bucket).update(attributes)
            backend.buckets[name] = bucket
            _set_tags(backend, bucket.arn, tags)
        names: set[str] = set()
        for (account, partition, bucket_name, key, version), content in self._records.load(_OBJECT):
            backend = s3_backends[account][partition]
            target = ObjectId(BucketId(account, partition, bucket_name), key)
            file = self._restore_version(backend, target, pickles.load(content, backend))
            self._saved.setdefault(target, {})[version] = file
            names.add(file)
        self._files.remove_all_but(names)

    def store_bytes(self, resources: Iterable[ResourceId]) -> None:
        """Move new objects' bytes to files. Raises OSError."""
        for resource in resources:
            if isinstance(resource, ObjectId):
                for version in _versions(resource):
                    if isinstance(version, FakeKey):
                        self._store(version)

    def update(self, resources: Iterable[ResourceId]) -> Update:
        """Return what is to be written for these resources, as they are now."""
        changes: list[Change] = []
        saved: dict[ObjectId, dict[str, str]] = {}
        for resource in resources:
            if isinstance(resource, BucketId):
                changes.append(Change(_BUCKET, resource, _bucket_content(resource)))
            elif isinstance(resource, ObjectId):
                versions = _versions(resource)
                if all(isinstance(version, FakeDeleteMarker) or self._has(version) for version in versions):
                    saved[resource] = {version.version_id: _file_of(version) for version in versions}
                    changes += self._object_changes(resource, versions)
                # Otherwise another request has just put the object, and will save it.
        return Update(changes, partial(self._written, saved))

    def forget(self) -> None:
        """Remove all files: moto was reset."""
        self._saved.clear()
        self._files.remove_all_but(set())

    def _written(self, saved: dict[ObjectId, dict[str, str]]) -> None:
        for resource, files in saved.items():
            before = set(self._saved.pop(resource, {}).values())
            if files:
                self._saved[resource] = files
            self._files.remove(before - set(files.values()) - {""})

    def _object_changes(self, resource: ObjectId, versions: list[Any]) -> list[Change]:
        backend = _backend(resource.bucket)
        contents = {version.version_id: pickles.dump(_version_content(backend, version)) for version in versions}
        gone = [version for version in self._saved.get(resource, {}) if version not in contents]
        return [
            Change(_OBJECT, (*resource.bucket, resource.key, version), contents.get(version))
            for version in [*gone, *contents]
        ]

    def _has(self, version: FakeKey) -> bool:
        return self._files.holds(version._value_buffer)

    def _store(self, version: FakeKey) -> None:
        with version.lock:
            if self._has(version):
                return
            version.etag  # computed from the bytes, while moto has them  # noqa: B018
            before: Any = version._value_buffer
            try:
                file = self._files.add(before, version.size)
            except ValueError:  # closed: the object has been overwritten meanwhile
                return
            version._value_buffer = file  # type: ignore[assignment]
            before.close()

    def _restore_version(self, backend: S3Backend, target: ObjectId, content: dict[str, Any]) -> str:
        """Give moto a version of an object, and return its file's name."""
        objects = backend.buckets[target.bucket.name].keys
        name: str = content.get("file", "")
        if not name:
            marker = FakeDeleteMarker(objects.get(target.key) or _empty_object(target.key, backend))
            vars(marker).update(content["attributes"])
            objects[target.key] = marker
            return name
        version = _empty_object(target.key, backend)
        file = self._files.find(name, content["attributes"]["contentsize"])
        if file is None:
            logger.error(
                "S3 object %s/%s is lost: %s is not complete; upload the object again",
                target.bucket.name,
                target.key,
                name,
            )
            return name
        _fill(version, content["attributes"], file)
        version.multipart = _multipart(content["multipart"], version, file)
        objects[target.key] = version
        _set_tags(backend, version.arn, content["tags"])
        return name


def _backend(bucket: BucketId) -> S3Backend:
    return s3_backends[bucket.account][bucket.partition]


def _versions(resource: ObjectId) -> list[Any]:
    bucket = _backend(resource.bucket).buckets.get(resource.bucket.name)
    return [] if bucket is None else list(bucket.keys.getlist(resource.key, []))


def _file_of(version: Any) -> str:
    return "" if isinstance(version, FakeDeleteMarker) else version._value_buffer.path.name


def _attributes(item: Any, without: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in vars(item).items() if name not in without}


def _bucket_content(resource: BucketId) -> bytes | None:
    backend = _backend(resource)
    bucket = backend.buckets.get(resource.name)
    if bucket is None:
        return None
    return pickles.dump((_attributes(bucket, _NOT_OF_BUCKETS), backend.tagger.get_tag_dict_for_resource(bucket.arn)))


def _version_content(backend: S3Backend, version: Any) -> dict[str, Any]:
    if isinstance(version, FakeDeleteMarker):
        return {"attributes": _attributes(version, frozenset(("key",)))}
    return {
        "attributes": _attributes(version, _NOT_OF_OBJECTS),
        "file": _file_of(version),
        "tags": backend.tagger.get_tag_dict_for_resource(version.arn),
        "multipart": _multipart_content(version),
    }


def _multipart_content(version: FakeKey) -> dict[str, Any] | None:
    """Return what is saved of the upload: its ID, and where the parts are, so that they can be got one by one."""
    multipart = version.multipart
    if multipart is None:
        return None
    parts = {number: multipart.parts[number] for number in multipart.partlist}
    whole = sum(part.size for part in parts.values()) == version.size  # otherwise not all of them were used
    return {
        "attributes": _attributes(multipart, frozenset(("parts",))),
        "parts": {number: _attributes(part, _NOT_OF_OBJECTS) for number, part in parts.items()} if whole else {},
    }


def _multipart(content: dict[str, Any] | None, version: FakeKey, file: ObjectFile) -> FakeMultipart | None:
    if content is None:
        return None
    multipart = FakeMultipart(version.name, version.metadata, version.account_id, version.region_name)  # type: ignore[arg-type]
    vars(multipart).update(content["attributes"])
    start = 0
    for number, attributes in content["parts"].items():
        part = FakeKey(number, b"", version.account_id, version.region_name)
        _fill(part, attributes, ObjectFile(file.path, start, attributes["contentsize"]))
        multipart.parts[number] = part
        start += part.size
    return multipart


def _empty_object(key: str, backend: S3Backend) -> FakeKey:
    return FakeKey(key, b"", backend.account_id, backend.region_name)


def _fill(version: FakeKey, attributes: dict[str, Any], file: ObjectFile) -> None:
    version._value_buffer.close()
    vars(version).update(attributes, _value_buffer=file)


def _set_tags(backend: S3Backend, arn: str, tags: dict[str, str]) -> None:
    if tags:
        backend.tagger.tags[arn] = dict(tags)
