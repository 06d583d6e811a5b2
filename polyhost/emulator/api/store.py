"""What the control plane remembers: the requests that made models, endpoint configurations and endpoints."""

import json
import logging
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from polyhost.emulator.config import ACCOUNT
from polyhost.emulator.errors import StartError

NAMES = {"model": "ModelName", "endpoint-config": "EndpointConfigName", "endpoint": "EndpointName"}
_WORDS = {"endpoint-config": "endpoint configuration"}

logger = logging.getLogger("polyhost.emulator")


@dataclass
class Resource:
    """`request` is what the client sent; `changes` what later calls made of it."""

    kind: str
    region: str
    name: str
    request: dict[str, Any]
    created: float
    modified: float
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        return arn(self.region, self.kind, self.name)


def arn(region: str, kind: str, name: str) -> str:
    """As AWS makes them: with the name in lower case."""
    return f"arn:aws:sagemaker:{region}:{ACCOUNT}:{kind}/{name.lower()}"


def words_of(kind: str) -> str:
    """Of a kind as ARNs name it."""
    return _WORDS.get(kind, kind.replace("-", " "))


class Resources:
    """All of them, with their tags; in a file where there is one, whole or not at all."""

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / "resources.json" if folder is not None else None
        self._all: dict[tuple[str, str, str], Resource] = {}
        self.tags: dict[str, dict[str, str]] = {}
        if self._path is not None:
            self._read(self._path)

    def get(self, region: str, kind: str, name: str) -> Resource | None:
        return self._all.get((region, kind, name.lower()))

    def all(self, region: str | None, kind: str) -> list[Resource]:
        return [item for item in self._all.values() if item.kind == kind and region in (None, item.region)]

    def by_arn(self, wanted: str) -> Resource | None:
        _, _, _, region, _, path = wanted.split(":", 5)
        kind, _, name = path.partition("/")
        found = self.get(region, kind, name)
        return found if found is not None and found.arn == wanted.lower() else None

    def put(self, resource: Resource) -> None:
        # "Case-insensitive": two names that differ in case only are one (botocore, CreateEndpoint).
        self._all[resource.region, resource.kind, resource.name.lower()] = resource
        self.save()

    def remove(self, resource: Resource) -> None:
        self._all.pop((resource.region, resource.kind, resource.name.lower()), None)
        self.tags.pop(resource.arn, None)
        self.save()

    def save(self) -> None:
        if self._path is None:
            return
        content = {"resources": [asdict(item) for item in self._all.values()], "tags": self.tags}
        new = self._path.with_suffix(f".{os.getpid()}")
        try:
            new.write_text(json.dumps(content))
            new.replace(self._path)
        except OSError as error:  # a full disk, say: what lives goes on living
            new.unlink(missing_ok=True)
            logger.error(
                "the state cannot be saved in %s: %s; a restart will not know the last change", self._path, error
            )

    def _read(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            content = json.loads(path.read_text()) if path.exists() else {"resources": [], "tags": {}}
            for item in content["resources"]:
                resource = Resource(**item)
                self._all[resource.region, resource.kind, resource.name.lower()] = resource
            self.tags = content["tags"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StartError(
                f"the state in {path} cannot be read ({error}); mend it, or choose another --state"
            ) from error
