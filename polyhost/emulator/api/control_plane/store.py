"""The control plane's records: the requests that created models, endpoint configurations and endpoints."""

import json
import logging
import os
import time
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.errors import StartError, ValidationException

logger = logging.getLogger(__name__)


class ResourceKind(StrEnum):
    """Kinds of resources; the values are those in ARNs and in the saved state."""

    MODEL = "model"
    ENDPOINT_CONFIG = "endpoint-config"
    ENDPOINT = "endpoint"
    TRANSFORM_JOB = "transform-job"
    PROCESSING_JOB = "processing-job"
    DATA_QUALITY_JOB_DEFINITION = "data-quality-job-definition"
    MODEL_QUALITY_JOB_DEFINITION = "model-quality-job-definition"
    MONITORING_SCHEDULE = "monitoring-schedule"

    @property
    def name_member(self) -> str:
        """The member of a request that holds the name of such a resource."""
        return _NAME_MEMBERS[self]


_NAME_MEMBERS = {
    ResourceKind.MODEL: "ModelName",
    ResourceKind.ENDPOINT_CONFIG: "EndpointConfigName",
    ResourceKind.ENDPOINT: "EndpointName",
    ResourceKind.TRANSFORM_JOB: "TransformJobName",
    ResourceKind.PROCESSING_JOB: "ProcessingJobName",
    ResourceKind.DATA_QUALITY_JOB_DEFINITION: "JobDefinitionName",
    ResourceKind.MODEL_QUALITY_JOB_DEFINITION: "JobDefinitionName",
    ResourceKind.MONITORING_SCHEDULE: "MonitoringScheduleName",
}
_WORDS: dict[str, str] = {ResourceKind.ENDPOINT_CONFIG: "endpoint configuration"}


@dataclass
class Resource:
    """A record. `request` is what the client sent; `changes` holds what later operations added to it."""

    kind: ResourceKind
    region: str
    name: str
    request: dict[str, Any]
    created: float  # seconds since 1970, as is `modified`
    modified: float
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        return _arn(self.region, self.kind, self.name)


class ResourceStore:
    """All records, with their tags by ARN; saved in a file, if there is a folder for it.

    Names are unique regardless of case: "case-insensitive" (botocore, CreateEndpoint).
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / "resources.json" if folder is not None else None
        self._resources: dict[tuple[str, str, str], Resource] = {}  # by region, kind, name in lower case
        self._tags: dict[str, dict[str, str]] = {}
        if self._path is not None:
            self._read(self._path)

    def get(self, region: str, kind: str, name: str) -> Resource | None:
        """Return the resource of this name, if there is one."""
        return self._resources.get((region, kind, name.lower()))

    def require(self, region: str, kind: ResourceKind, name: str) -> Resource:
        """Return the resource of this name. Raises ValidationException with AWS's words if there is none."""
        resource = self.get(region, kind, name)
        if resource is None:
            raise ValidationException(f'Could not find {_words(kind)} "{_arn(region, kind, name)}".')
        return resource

    def require_absent(self, region: str, kind: ResourceKind, name: str) -> None:
        """Raise ValidationException, with AWS's words, if there is a resource of this name."""
        if self.get(region, kind, name) is not None:
            raise ValidationException(f'Cannot create already existing {_words(kind)} "{_arn(region, kind, name)}".')

    def require_by_arn(self, arn: str) -> Resource:
        """Return the resource of this ARN. Raises ValidationException if there is none."""
        _, _, _, region, _, path = arn.split(":", 5)
        kind, _, name = path.partition("/")
        resource = self.get(region, kind, name)
        if resource is None or resource.arn != arn.lower():
            raise ValidationException(f'Could not find {_words(kind)} "{arn}".')
        return resource

    def of_kind(self, kind: ResourceKind, region: str | None = None) -> list[Resource]:
        """Return all resources of a kind, in one region or in all."""
        return [item for item in self._resources.values() if item.kind == kind and region in (None, item.region)]

    def create(self, region: str, kind: ResourceKind, request: dict[str, Any]) -> Resource:
        """Record a request that created a resource, with the tags in it."""
        now = time.time()
        resource = Resource(kind, region, request[kind.name_member], request, now, now)
        self._tags[resource.arn] = {tag["Key"]: tag.get("Value") or "" for tag in request.get("Tags") or []}
        self._resources[region, kind, resource.name.lower()] = resource
        self.save()
        return resource

    def remove(self, resource: Resource) -> None:
        """Remove a record and its tags."""
        self._resources.pop((resource.region, resource.kind, resource.name.lower()), None)
        self._tags.pop(resource.arn, None)
        self.save()

    def tags(self, resource: Resource) -> dict[str, str]:
        """Return the resource's own tags; `save` after a change of them."""
        return self._tags.setdefault(resource.arn, {})

    def save(self) -> None:
        """Write the file anew, in one step, so that a crash cannot leave half of it."""
        if self._path is None:
            return
        content = {"resources": [asdict(item) for item in self._resources.values()], "tags": self._tags}
        new = self._path.with_suffix(f".{os.getpid()}")
        try:
            new.write_text(json.dumps(content))
            new.replace(self._path)
        except OSError as error:  # such as a full disk: what runs keeps running
            new.unlink(missing_ok=True)
            logger.error("cannot save the state in %s: %s; a restart will lose the last change", self._path, error)

    def _read(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            content = json.loads(path.read_text()) if path.exists() else {"resources": [], "tags": {}}
            for item in content["resources"]:
                resource = Resource(**{**item, "kind": ResourceKind(item["kind"])})
                self._resources[resource.region, resource.kind, resource.name.lower()] = resource
            self._tags = content["tags"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StartError(
                f"cannot read the saved state in {path} ({error}); fix the file, or choose another --state"
            ) from error


def _arn(region: str, kind: str, name: str) -> str:
    """Return an ARN as AWS forms it, with the name in lower case."""
    return f"arn:aws:sagemaker:{region}:{ACCOUNT}:{kind}/{name.lower()}"


def _words(kind: str) -> str:
    """Return what AWS's messages call a kind of resource, known to the emulator or not."""
    return _WORDS.get(kind, kind.replace("-", " "))
